from mwalimu.data.record import Message, Record
from mwalimu.preparation.words import (
    conversation_hash,
    grams,
    setting,
    text_hash,
    word_hashes,
    words,
)
from tests.preparation.planted import record


def test_case_spacing_and_punctuation_make_no_difference() -> None:
    assert words("Hello,  WORLD!\n“It's”\u00a0fine.") == ["hello", "world", "it", "s", "fine"]
    assert text_hash("ﬁne Straße") == text_hash("FINE  strasse!")


def test_a_sign_before_a_number_is_a_word() -> None:
    questions = ["What is 2 + 3?", "What is 2 - 3?", "What is 2 * 3?", "What is 2 / 3?"]
    assert len({text_hash(one) for one in questions}) == 4
    assert text_hash("2+3") == text_hash("2 +  3")


def test_unspaced_scripts_are_cut_into_characters() -> None:
    assert words("你好 world") == ["你", "好", "world"]
    assert len(words("東京タワーは高い")) == 8


def test_texts_of_signs_alone_are_not_all_the_same() -> None:
    assert text_hash("🙂") != text_hash("🙁")
    assert text_hash("") == text_hash("   ")


def test_the_setting_is_the_system_turns_and_the_tools() -> None:
    one, other = record("a", system="Be kind."), record("b", system="be  KIND")
    assert setting(one) == setting(other) != setting(record("a"))
    tooled = Record("1", "generic", (Message("user", "a"),), None, {}, ({"name": "f"},))
    assert setting(tooled) != setting(record("a"))


def test_roles_calls_and_systems_tell_conversations_apart() -> None:
    assert conversation_hash(record("A b!")) == conversation_hash(record("a  B"))
    assert conversation_hash(record("a", system="x")) != conversation_hash(record("a"))
    swapped = Record("1", "generic", (Message("assistant", "a"),))
    assert conversation_hash(swapped) != conversation_hash(record("a"))
    called = Record("1", "generic", (Message("user", "a", ({"id": 2**70},)),))
    assert conversation_hash(called) != conversation_hash(record("a"))
    assert conversation_hash(record("\ud800"))  # no text of a JSON file stops it


def test_grams_are_equal_exactly_where_the_words_are() -> None:
    text = ["a", "b", "c", "d", "a", "b", "c", "e"]
    found = grams(word_hashes(text), 3).tolist()
    plain = [tuple(text[at : at + 3]) for at in range(6)]
    for at, one in enumerate(found):
        assert [other == one for other in found] == [other == plain[at] for other in plain]
    assert len(grams(word_hashes(text), 9)) == 0


def test_the_hash_of_a_gram_is_the_documented_polynomial() -> None:
    one, two = map(int, word_hashes(["x", "y"]))
    assert int(grams(word_hashes(["x", "y"]), 2)[0]) == (one * 0x9E3779B97F4A7C15 + two) % 2**64
