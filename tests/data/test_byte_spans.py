"""Byte lengths against the tokenizers' offsets, alignments against a search through the text."""

import gc
import weakref
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.data.byte_spans import align, byte_lengths, chunk_starts
from tests.data.tokenizers_by_kind import LOSSLESS, tokenizer_of

WORDS = (
    "the cat",
    " ",
    "  ",
    "\n\n",
    "ö",
    "東京",
    "🙂",
    "👩‍👩‍👧",
    "e\u0301",
    "<0x41>",
    "<|end|>",
    "é!",
    "x",
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="▁"), max_size=20) | st.lists(
    st.sampled_from(WORDS), max_size=8
).map("".join)


def encode(tokenizer: Any, text: str) -> list[int]:
    options = {"add_special_tokens": False, "split_special_tokens": True}
    return list(tokenizer.encode(text, **options)) if text else []


def offsets_agree(tokenizer: Any, text: str, lengths: list[int]) -> None:
    """Where a token ends and the next begins between two characters, so do their bytes."""
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    spans = encoded["offset_mapping"]
    ends = np.cumsum(lengths)
    for index, (_, stop) in enumerate(spans):
        following = spans[index + 1][0] if index + 1 < len(spans) else len(text)
        if following >= stop:
            assert ends[index] == len(text[:stop].encode())


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_tokens_cover_the_text_byte_by_byte(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = encode(tokenizer, text)
    lengths = byte_lengths(tokenizer, [*ids, tokenizer.eos_token_id], text)
    assert lengths is not None
    assert len(lengths) == len(ids) + 1 and lengths[-1] == 0
    assert sum(lengths) == len(text.encode())
    offsets_agree(tokenizer, text, lengths[:-1])


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=texts, share=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_cut_answer_has_the_lengths_of_the_whole_one(kind: str, text: str, share: float) -> None:
    tokenizer = tokenizer_of(kind)
    ids = encode(tokenizer, text)
    whole = byte_lengths(tokenizer, ids, text)
    cut = int(share * len(ids))
    assert whole is not None
    assert byte_lengths(tokenizer, ids[:cut], text, truncated=True) == whole[:cut]
    if sum(whole[:cut]) < len(text.encode()) - 1:  # one byte may be a space that is not put first
        assert byte_lengths(tokenizer, ids[:cut], text) is None


@pytest.mark.parametrize("kind", ["byte level", "llama", "metaspace", "gemma"])
def test_parts_of_one_character_have_their_own_bytes(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    text = "a\U0001f9ed"  # an emoji that was not trained on
    lengths = byte_lengths(tokenizer, encode(tokenizer, text), text)
    assert lengths is not None and lengths.count(1) >= 3 and sum(lengths) == 5


def test_the_space_that_a_tokenizer_puts_first_has_no_byte() -> None:
    for kind in ("llama", "metaspace", "byte level, led by a space"):
        tokenizer = tokenizer_of(kind)
        lone = tokenizer.convert_tokens_to_ids("Ġ" if "byte" in kind else "▁")
        letter = tokenizer.convert_tokens_to_ids("x")
        assert byte_lengths(tokenizer, [lone, letter], "x") == [0, 1]
        assert byte_lengths(tokenizer, [letter], "x") == [1]  # a model may leave it out
    # Cut off, two spaces may be the text's own or one of them the tokenizer's: that is known.
    for kind, expected in (("llama", [0, 1]), ("metaspace", [1, 1]), ("gemma", [1, 1])):
        tokenizer = tokenizer_of(kind)
        lone = tokenizer.convert_tokens_to_ids("▁")
        assert byte_lengths(tokenizer, [lone, lone], "  x", truncated=True) == expected


def test_control_tokens_inside_have_no_bytes_and_added_words_have_theirs() -> None:
    tokenizer = tokenizer_of("byte level")
    call = tokenizer.convert_tokens_to_ids("<tool_call>")
    accent = tokenizer.convert_tokens_to_ids("é!")
    end = tokenizer.eos_token_id
    assert byte_lengths(tokenizer, [call, end, accent], "<tool_call>é!") == [11, 0, 3]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("byte level, normal form", "e\u0301"),
        ("lower case", "The"),
        ("unigram", "the \U0001f9ed"),
        ("word pieces", "the cat"),
        ("characters", "ö"),
        ("llama", "a▁b"),
    ],
)
def test_what_the_tokens_do_not_spell_is_not_proved(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert byte_lengths(tokenizer, encode(tokenizer, text), text) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("byte level, normal form", "é"),
        ("lower case", "the"),
        ("unigram", "the cat  sat"),
        ("characters", "the\ncat"),
    ],
)
def test_tokenizers_that_lose_some_texts_spell_the_others(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    lengths = byte_lengths(tokenizer, encode(tokenizer, text), text)
    assert lengths is not None and sum(lengths) == len(text.encode())


def test_another_text_an_id_without_a_token_and_a_slow_tokenizer_are_not_proved() -> None:
    tokenizer = tokenizer_of("byte level")
    ids = encode(tokenizer, "the cat")
    assert byte_lengths(tokenizer, ids, "the cats") is None
    assert byte_lengths(tokenizer, ids, "the bat") is None
    assert byte_lengths(tokenizer, [*ids, len(tokenizer)], "the cat") is None

    class Slow:
        pass

    assert byte_lengths(Slow(), [1], "a") is None


def test_what_is_known_of_a_tokenizer_goes_with_it() -> None:
    tokenizer = tokenizer_of.__wrapped__("byte level")
    byte_lengths(tokenizer, encode(tokenizer, "the"), "the")
    gone = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None


def search(
    lengths_T: list[int], lengths_S: list[int], *, last: bool
) -> tuple[list[int], list[int]]:
    """Walks both from left to right, byte by byte, and gives each token its chunk."""

    def ends(lengths: list[int]) -> set[int]:
        return {sum(lengths[: i + 1]) for i, length in enumerate(lengths) if length}

    both = ends(lengths_T) & ends(lengths_S)

    def walk(lengths: list[int]) -> list[int]:
        chunks, position, chunk = [], 0, 0
        for length in lengths:
            chunks.append(chunk if position < max(both, default=0) or last else -1)
            for _ in range(length):
                position += 1
                chunk += position in both
        return chunks

    return walk(lengths_T), walk(lengths_S)


@st.composite
def two_tokenizations(draw: st.DrawFn) -> tuple[list[int], list[int], bool]:
    """(teacher's lengths, student's, whether both have an end of turn) of one text."""
    size = draw(st.integers(0, 30))

    def lengths(*, end: bool) -> list[int]:
        cuts = sorted(draw(st.lists(st.integers(0, size), max_size=12)))
        edges = [0, *cuts, size]
        inner = [b - a for a, b in pairwise(edges)]
        while inner and inner[-1] == 0:
            inner.pop()
        return [*inner, 0] if end else inner

    end_T, end_S = draw(st.booleans()), draw(st.booleans())
    return lengths(end=end_T), lengths(end=end_S), end_T and end_S


@given(two_tokenizations())
@settings(max_examples=400, deadline=None)
def test_chunks_are_the_smallest_texts_that_both_spell(
    case: tuple[list[int], list[int], bool],
) -> None:
    lengths_T, lengths_S, both_end = case
    chunk_T, chunk_S = align(lengths_T, lengths_S)
    assert (chunk_T.tolist(), chunk_S.tolist()) == search(lengths_T, lengths_S, last=both_end)
    # Every chunk is in both, of the same bytes.
    assert set(chunk_T[chunk_T >= 0]) == set(chunk_S[chunk_S >= 0])
    for chunk in set(chunk_T[chunk_T >= 0].tolist()):
        widths = [
            int(np.asarray(lengths)[found == chunk].sum())
            for lengths, found in ((lengths_T, chunk_T), (lengths_S, chunk_S))
        ]
        assert widths[0] == widths[1]


@given(two_tokenizations(), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_cutting_the_student_leaves_the_chunks_before_the_cut(
    case: tuple[list[int], list[int], bool], kept: int
) -> None:
    lengths_T, lengths_S, _ = case
    if kept >= len(lengths_S) or sum(lengths_S[:kept]) == sum(lengths_S):
        return
    whole_T, whole_S = align(lengths_T, lengths_S)
    cut_T, cut_S = align(lengths_T, lengths_S[:kept])
    complete = [c for c in set(whole_S[:kept].tolist()) if c >= 0 and c not in whole_S[kept:]]
    expected_S = [c if c in complete else -1 for c in whole_S[:kept].tolist()]
    expected_T = [c if c in complete else -1 for c in whole_T.tolist()]
    assert (cut_T.tolist(), cut_S.tolist()) == (expected_T, expected_S)


def test_by_hand() -> None:
    # Hel|lo| |\xf0\x9f|\x99\x82|end and Hello| \xf0\x9f|\x99\x82|end, of "Hello 🙂"
    chunk_T, chunk_S = align([3, 2, 1, 2, 2, 0], [5, 3, 2, 0])
    assert chunk_T.tolist() == [0, 0, 1, 1, 2, 3]
    assert chunk_S.tolist() == [0, 1, 2, 3]
    starts_T, starts_S = chunk_starts(chunk_T, chunk_S)
    assert starts_T.tolist() == [0, 2, 4, 5]
    assert starts_S.tolist() == [0, 1, 2, 3]


def test_only_ends_of_turn_and_nothing_at_all() -> None:
    assert [found.tolist() for found in align([0], [0])] == [[0], [0]]
    assert [found.tolist() for found in align([0], [])] == [[-1], []]
    assert [found.tolist() for found in align([], [])] == [[], []]
    assert [found.tolist() for found in chunk_starts(*align([0], []))] == [[], []]


def test_real_tokenizers_meet_in_the_same_text() -> None:
    text = "the cat 🙂 sat in 東京, naïve\U0001f9ed."
    spelled = text.encode()
    lengths = []
    for kind in ("llama", "byte level"):
        tokenizer = tokenizer_of(kind)
        ids = [*encode(tokenizer, text), tokenizer.eos_token_id]
        found = byte_lengths(tokenizer, ids, text)
        assert found is not None
        lengths.append(found)
    chunks = align(*lengths)
    pieces = []
    for found, chunk in zip(lengths, chunks, strict=True):
        starts = np.cumsum(found) - found
        by_chunk = [b""] * (int(chunk.max()) + 1)
        for start, length, number in zip(starts, found, chunk, strict=True):
            by_chunk[number] += spelled[start : start + length]
        pieces.append(by_chunk)
    assert pieces[0] == pieces[1] and b"".join(pieces[0]) == spelled
    assert len(pieces[0]) > 8 and pieces[0][-1] == b""
