import pytest

from mwalimu.data.token_ids import TokenIds
from mwalimu.data.vocabulary import vocabulary_size
from tests.data.tokenizers_by_kind import TEXTS, tokenizer_of

KINDS = ("byte level", "llama", "metaspace", "gemma", "characters")


def ids_of(kind: str) -> TokenIds:
    return TokenIds(tokenizer_of(kind), vocabulary_size(tokenizer_of(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_names_its_token_or_none(kind: str) -> None:
    """As a server writes it, alone: whatever is found is the token that was meant."""
    tokenizer, ids = tokenizer_of(kind), ids_of(kind)
    found = 0
    for token in tokenizer.get_vocab().values():
        text = tokenizer.decode([token], clean_up_tokenization_spaces=False)
        assert ids[text] in (token, None)
        found += ids[text] == token
    assert found > 50


def test_parts_of_characters_and_words_with_and_without_a_space_are_several() -> None:
    assert ids_of("byte level")["�"] is None
    llama, ids = tokenizer_of("llama"), ids_of("llama")
    words = llama.get_vocab().keys()
    twice = [word for word in words if f"▁{word}" in words and "▁" not in word]
    assert twice and all(ids[word] is None for word in twice)
    assert all(ids[f" {word}"] == llama.get_vocab()[f"▁{word}"] for word in twice)


def test_a_byte_level_text_is_whole_in_its_tokens() -> None:
    tokenizer, ids = tokenizer_of("byte level"), ids_of("byte level")
    for token in tokenizer.encode(TEXTS[0], add_special_tokens=False):
        assert ids[tokenizer.decode([token])] == token


def test_control_tokens_are_spelled_out_and_nothing_is_nobody() -> None:
    tokenizer, ids = tokenizer_of("characters"), ids_of("characters")
    assert ids["<|end|>"] == tokenizer.eos_token_id
    assert ids[""] is None and ids["no such token"] is None


def test_a_number_is_exact() -> None:
    ids = TokenIds(tokenizer_of("llama"), 100)
    assert ids["token_id:42"] == 42 and ids["token_id:100"] is None
