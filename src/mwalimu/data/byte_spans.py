"""Which bytes of an answer each token covers, and where two tokenizations of it meet.

Tokens of two vocabularies have nothing in common but the text. Its unit here is the byte and not
the character: one emoji may be four tokens there and two here, and both may meet inside it.

What a token covers is read from the tokenizer's own decoder (its byte alphabet, its byte tokens,
its sign for a space) and not from what is decoded: a text cut inside a character decodes to
replacement characters, and some decoders drop or add spaces. Then it is proved: the bytes of all
tokens, joined, are the text.

Shapes: T tokens of the teacher, S tokens of the student.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mwalimu.errors import StudentError

Ints = NDArray[np.int64]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_ALPHABET = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + index): byte for index, byte in enumerate(_OTHERS)
}
"""How byte-level tokenizers write a byte as a character, since GPT-2."""


def byte_lengths(
    tokenizer: Any, ids: Sequence[int], text: str, *, truncated: bool = False
) -> list[int] | None:
    """How many of the UTF-8 bytes of `text` each token covers; None where that cannot be proved.

    Control tokens (the end of turn) cover 0, and so does a space that the tokenizer puts in front
    of every text. The sum is `len(text.encode())`; with `truncated`, the tokens may end before the
    text does. Not proved are texts that the tokenizer changes (to lower case, to another normal
    form) or has no tokens for, and tokenizers without a fast backend.
    """
    table = _table(tokenizer)
    if table is None or (pieces := table.pieces(ids)) is None:
        return None
    joined, spelled = b"".join(pieces), text.encode()
    usual = table.puts_space_before(text)
    for space in (usual, not usual):  # a model may answer without the space, or with one
        expected = b" " * space + spelled
        if joined == expected or (truncated and expected.startswith(joined)):
            return _without_first_byte(pieces) if space else [len(piece) for piece in pieces]
    return None


def token_bytes(tokenizer: Any, ids: Sequence[int]) -> list[bytes]:
    """What each id stands for; empty for a control token and for an id without a token.

    Raises:
        StudentError: the tokenizer has no fast backend to read it from.
    """
    table = _table(tokenizer)
    if table is None:
        raise StudentError(
            "the bytes of its tokens are not known: the tokenizer has no fast backend",
            where=str(tokenizer.name_or_path),
        )
    pieces = (table.pieces([token]) for token in ids)
    return [piece[0] if piece else b"" for piece in pieces]


def align(lengths_T: ArrayLike, lengths_S: ArrayLike) -> tuple[Ints, Ints]:
    """The chunk of each token, [T] and [S]; -1 for a token in no chunk.

    A chunk ends at each byte where a token of both ends, so that the chunks are the smallest texts
    that both spell in whole tokens. They are numbered in the order of the text. A token without
    bytes belongs to the chunk that begins where it stands; those after the text (the end of turn)
    are a last chunk of their own if both have one. A tokenization that was cut off ends early:
    what follows the last common end, in either, is in no chunk.
    """
    ends_T, starts_T = _ends_and_starts(lengths_T)
    ends_S, starts_S = _ends_and_starts(lengths_S)
    common = np.intersect1d(ends_T, ends_S)
    common = common[common > 0]
    chunk_T = np.searchsorted(common, starts_T, side="right")
    chunk_S = np.searchsorted(common, starts_S, side="right")
    after_T, after_S = chunk_T == len(common), chunk_S == len(common)
    last = int(common[-1]) if len(common) else 0
    if not (_only_control(ends_T, after_T, last) and _only_control(ends_S, after_S, last)):
        chunk_T[after_T] = -1
        chunk_S[after_S] = -1
    return chunk_T, chunk_S


def chunk_starts(chunk_T: Ints, chunk_S: Ints) -> tuple[Ints, Ints]:
    """The index of the first token of each chunk: in the teacher's tokens, in the student's.

    Both predict it after the same text, which holds of no other token of a chunk.
    """
    return _first_of_each(chunk_T), _first_of_each(chunk_S)


def _ends_and_starts(lengths: ArrayLike) -> tuple[Ints, Ints]:
    widths = np.asarray(lengths, dtype=np.int64)
    ends = np.cumsum(widths)
    return ends, ends - widths


def _only_control(ends: Ints, after: NDArray[np.bool_], last: int) -> bool:
    """Whether tokens follow the byte `last`, and none of them has bytes."""
    return bool(after.any()) and int(ends[-1]) == last


def _first_of_each(chunk: Ints) -> Ints:
    numbers, first = np.unique(chunk, return_index=True)
    return first[numbers >= 0]


def _without_first_byte(pieces: list[bytes]) -> list[int]:
    lengths = [len(piece) for piece in pieces]
    first = next((index for index, length in enumerate(lengths) if length), None)
    if first is not None:
        lengths[first] -= 1
    return lengths


class _TokenBytes:
    """The bytes that each token of one tokenizer stands for; none for a control token."""

    def __init__(self, tokenizer: Any) -> None:
        # Not the tokenizer itself: this is kept for as long as that lives.
        self._backend = tokenizer.backend_tokenizer
        added = tokenizer.added_tokens_decoder
        special = {i for i, token in added.items() if token.special}
        self._known = dict.fromkeys(special | set(tokenizer.all_special_ids), b"")
        self._added = frozenset(added)
        self._steps = _decoder_steps(self._backend.decoder)
        self._lone_space = self._leads_with(b" ", tokenizer, "a")
        self._second_space = self._leads_with(b"  ", tokenizer, " a")

    def pieces(self, ids: Sequence[int]) -> list[bytes] | None:
        """One a token; None if there is an id without a token."""
        for token in set(ids) - self._known.keys():
            written = self._backend.id_to_token(token)
            if written is None:
                return None
            self._known[token] = self._bytes(written, added=token in self._added)
        return [self._known[token] for token in ids]

    def puts_space_before(self, text: str) -> bool:
        """Whether the tokens of `text` begin with a space that it does not have."""
        return self._second_space if text.startswith(" ") else self._lone_space and bool(text)

    def _leads_with(self, spaces: bytes, tokenizer: Any, text: str) -> bool:
        pieces = self.pieces(tokenizer.encode(text, add_special_tokens=False))
        return pieces is not None and b"".join(pieces).startswith(spaces)

    def _bytes(self, written: str, *, added: bool) -> bytes:
        kinds = {step["type"] for step in self._steps}
        if "ByteLevel" in kinds:
            # An added token is found in the text as it is, before bytes become characters.
            plain = added or not all(character in _ALPHABET for character in written)
            return written.encode() if plain else bytes(_ALPHABET[c] for c in written)
        byte = _BYTE_TOKEN.fullmatch(written) if "ByteFallback" in kinds else None
        if byte:
            return bytes([int(byte[1], 16)])
        for step in self._steps:
            if step["type"] == "Metaspace":
                written = written.replace(step["replacement"], " ")
            elif step["type"] == "Replace" and "String" in step["pattern"]:
                written = written.replace(step["pattern"]["String"], step["content"])
        return written.encode()


_TABLES: WeakKeyDictionary[Any, _TokenBytes] = WeakKeyDictionary()


def _table(tokenizer: Any) -> _TokenBytes | None:
    table = _TABLES.get(tokenizer)
    if table is None and getattr(tokenizer, "backend_tokenizer", None) is not None:
        table = _TABLES[tokenizer] = _TokenBytes(tokenizer)
    return table


def _decoder_steps(decoder: Any) -> list[dict[str, Any]]:
    """The decoder's parts, as tokenizer.json writes them; none for a tokenizer without one."""
    if decoder is None:
        return []
    state = json.loads(decoder.__getstate__())
    return list(state["decoders"]) if state["type"] == "Sequence" else [state]
