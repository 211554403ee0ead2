"""What of a row is compared, and how: words without case, punctuation and spacing.

Rows are compared within one *setting*: the system turns and the tools. A system prompt that all
rows share then makes no row like another, and one that carries the document makes all differ.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mwalimu.data.record import Record

Hashes = NDArray[np.uint64]

# Scripts that put no space between words: there each character counts as one.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# A sign before a number is a word: 2 + 3 and 2 - 3 are two questions.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[-+*/^=<>\u00d7\u00f7](?=\s*[\d(])")


def words(text: str) -> list[str]:
    """Casefolded, NFKC; a text of nothing but signs is one word, so that it is like no other."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold()) or text.split()


def turns(record: Record) -> str:
    """All but the system's."""
    return "\n".join(m.content for m in record.messages if m.role != "system")


def user_turns(record: Record) -> str:
    return "\n".join(m.content for m in record.messages if m.role == "user")


def setting(record: Record) -> int:
    """64 bits of the system turns' words and the tools."""
    parts = [" ".join(words(m.content)) for m in record.messages if m.role == "system"]
    return _hash(_canonical([parts, record.tools]))


def conversation_hash(record: Record) -> int:
    """64 bits of who says what, in words: equal for rows that differ in writing only."""
    said = [[m.role, " ".join(words(m.content))] for m in record.messages]
    calls = [call for m in record.messages for call in m.tool_calls]
    return _hash(_canonical([said, calls, record.tools]))


def text_hash(text: str) -> int:
    """64 bits of the words of `text`."""
    return _hash(" ".join(words(text)).encode("utf-8", "surrogatepass"))


def _canonical(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # lone surrogates and integers above 64 bits, which JSON texts may hold
        return json.dumps(value, sort_keys=True).encode()


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return _hash(word.encode("utf-8", "surrogatepass"))


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def word_hashes(found: list[str]) -> Hashes:
    """(words,) uint64: BLAKE2b of each word."""
    return np.fromiter(map(_word_hash, found), np.uint64, len(found))


def grams(hashes: Hashes, length: int) -> Hashes:
    """(max(words - length + 1, 0),) uint64: a polynomial in the hashes of every `length` words.

    The rolling hash of Karp and Rabin 1987 modulo 2^64, over words that are hashed already. A
    published list of such hashes stays valid as long as this and `words` do.
    """
    count = len(hashes) - length + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    found = np.zeros(count, np.uint64)
    for offset in range(length):
        found *= np.uint64(0x9E3779B97F4A7C15)
        found += hashes[offset : offset + count]
    return found
