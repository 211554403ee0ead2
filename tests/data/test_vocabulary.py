"""Same tokens or not: by every id, never by the size."""

from collections.abc import Iterable
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mwalimu.data.vocabulary import compare, vocabulary_fingerprint, vocabulary_size
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.tiny import make_tokenizer

WORDS = ("<unk>", "<|end|>", " ", "a", "b", "c", "ab", "abc")
MERGES = [("a", "b"), ("ab", "c")]


def tokenizer(
    words: Iterable[str] = WORDS,
    *,
    merges: list[tuple[str, str]] = MERGES,
    pre_tokenizer: Any = None,
    extra: Iterable[str] = (),
    special: Iterable[str] = (),
) -> Any:
    """A BPE whose ids are the places in `words`."""
    made = Tokenizer(
        models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="<unk>")
    )
    made.decoder = decoders.Fuse()
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="<|end|>")
    fast.add_tokens(list(extra))
    fast.add_tokens(list(special), special_tokens=True)
    return fast


def test_a_tokenizer_is_its_own_twin() -> None:
    found = compare(tokenizer(), tokenizer(), ["abc ab c"])
    assert found.same and found.common == len(WORDS) and not found.reason
    chars = make_tokenizer()
    assert compare(chars, make_tokenizer(), ["naïve 3"]).common == vocabulary_size(chars)


def test_equal_sizes_do_not_make_equal_ids() -> None:
    swapped = (*WORDS[:3], "b", "a", *WORDS[5:])
    assert len(tokenizer()) == len(tokenizer(swapped))
    found = compare(tokenizer(), tokenizer(swapped))
    assert not found.same and found.common == 0
    assert found.reason == "id 3 is 'a' to the teacher, 'b' to the student"


def test_the_size_is_of_the_highest_id_that_means_something() -> None:
    assert vocabulary_size(tokenizer()) == len(WORDS)
    ids = {word: i if i < 7 else 9 for i, word in enumerate(WORDS)}
    made = Tokenizer(models.BPE(ids, MERGES, unk_token="<unk>"))
    holes = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="<|end|>")
    assert vocabulary_size(holes) == 10 and compare(holes, holes).common == 10
    assert compare(holes, tokenizer()).reason == "id 7 is None to the teacher, 'abc' to the student"


@pytest.mark.parametrize("longer", ["teacher", "student"])
def test_control_tokens_that_one_of_them_has_more_touch_no_text(longer: str) -> None:
    plain, more = tokenizer(), tokenizer(special=["<|tool|>", "[IMG]"])
    pair = (more, plain) if longer == "teacher" else (plain, more)
    found = compare(*pair, ["abc <|tool|> ab"])
    assert found.same and found.common == len(WORDS)


@pytest.mark.parametrize("longer", ["teacher", "student"])
def test_words_that_one_of_them_has_more_do(longer: str) -> None:
    plain, more = tokenizer(), tokenizer(extra=["cab"])
    pair = (more, plain) if longer == "teacher" else (plain, more)
    found = compare(*pair)
    assert not found.same and found.reason == f"the {longer} has words beyond id 7"


def test_one_vocabulary_can_be_split_in_two_ways() -> None:
    by_letter = tokenizer(pre_tokenizer=pre_tokenizers.Split(Regex("."), "isolated"))
    assert tokenizer().get_vocab() == by_letter.get_vocab()
    assert compare(tokenizer(), by_letter).same  # their ids are the same
    found = compare(tokenizer(), by_letter, ["c", "abc"])
    assert not found.same and found.reason == "they split 'abc' in different ways"
    fewer_merges = tokenizer(merges=MERGES[:1])
    assert not compare(tokenizer(), fewer_merges, ["abc"]).same


def test_a_text_that_spells_a_control_token_is_text_to_both() -> None:
    one = tokenizer(special=["<|tool|>"])
    assert compare(one, tokenizer(special=["<|tool|>"]), ["a<|tool|><|end|>b"]).same


def test_a_fingerprint_is_of_ids_and_tokens_and_can_stop_early() -> None:
    plain, more = tokenizer(), tokenizer(special=["<|tool|>"])
    assert vocabulary_fingerprint(plain) == vocabulary_fingerprint(tokenizer())
    assert vocabulary_fingerprint(plain) != vocabulary_fingerprint(more)
    assert vocabulary_fingerprint(plain) == vocabulary_fingerprint(more, len(WORDS))
    assert vocabulary_fingerprint(plain, 5) == vocabulary_fingerprint(more, 5)
    assert vocabulary_fingerprint(plain, 5) != vocabulary_fingerprint(plain, 6)
    swapped = tokenizer((*WORDS[:3], "b", "a", *WORDS[5:]))
    assert vocabulary_fingerprint(swapped, 3) == vocabulary_fingerprint(plain, 3)
    assert vocabulary_fingerprint(swapped, 4) != vocabulary_fingerprint(plain, 4)


def test_kinds_in_use_differ_and_say_where() -> None:
    texts = ["the cat, Grüße"]
    for kind in ("byte level", "llama", "gemma"):
        other = "gemma" if kind == "llama" else "llama"
        assert compare(tokenizer_of(kind), tokenizer_of(kind), texts).same
        found = compare(tokenizer_of(kind), tokenizer_of(other), texts)
        assert not found.same and found.reason
