"""Seeded changes of bytes: of their structure where they are JSON, else wherever chance falls."""

from __future__ import annotations

import random
from collections.abc import Sequence

HOSTILE = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half a surrogate pair
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b"[" * 600,
    b'{"a":' * 300,
    b'"\\ud800"',
    b"\\u0000",
    b"{}",
    b"[]",
    b'""',
    b"18446744073709551616",
    b"\r\n\r\n",
    b"data: [DONE]\n\n",
    b"!!python/object/apply:os.system [id]",
    b"&a [*a, *a]",
    b"{{ 7 * 7 }}",
)


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus with one to eight changes."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4, 8))):
        chance.choice(CHANGES)(chance, data, corpus)
    return bytes(data)


def _place(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def _flip(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    start = _place(chance, data)
    del data[start : start + chance.choice((1, 1, 4, 16, len(data)))]


def _repeat(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    start = _place(chance, data)
    piece = data[start : start + chance.choice((1, 8, 64))]
    data[start:start] = piece * chance.choice((1, 1, 2, 50))


def _insert(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    start = _place(chance, data)
    data[start:start] = chance.choice(HOSTILE)


def _replace_token(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """A whole word, number or quoted text becomes something hostile."""
    start = _place(chance, data)
    while start > 0 and data[start - 1] not in _EDGES:
        start -= 1
    end = start
    while end < len(data) and data[end] not in _EDGES:
        end += 1
    data[start:end] = chance.choice(HOSTILE)


def _splice(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """Goes on with the end of another of the corpus."""
    other = chance.choice(corpus)
    del data[_place(chance, data) :]
    data += other[chance.randrange(len(other) + 1) :]


def _number(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """Eight bytes become a length that lies."""
    start = _place(chance, data)
    value = chance.choice((0, 1, 255, 65535, 2**31 - 1, 2**32, 2**63 - 1, 2**64 - 1))
    data[start : start + 8] = value.to_bytes(8, "little")


_EDGES = frozenset(b' \t\n:,{}[]"')
CHANGES = (_flip, _cut, _repeat, _insert, _replace_token, _splice, _number)
