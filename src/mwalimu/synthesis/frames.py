"""The bytes of a segment: frames, each with its own checksum."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

HEAD = struct.Struct("<c32s16sIIqII")
_UNCHECKED = struct.Struct("<c32s16sIIqI")  # the head without its checksum
SENT, ANSWER, UNBILLED = b"S", b"A", b"U"
_KIND = re.compile(b"[SAU]")
UNKNOWN = -1


class Cost(NamedTuple):
    """Tokens and money of a request. `nano_usd` is None where the price is unknown."""

    prompt: int = 0
    completion: int = 0
    nano_usd: int | None = 0


class Frame(NamedTuple):
    """`offset` and `length` are those of the bytes behind the head."""

    kind: bytes
    key: bytes
    run: bytes
    cost: Cost
    offset: int
    length: int


def pack(kind: bytes, key: bytes, run: bytes, cost: Cost, raw: bytes) -> bytes:
    nano = UNKNOWN if cost.nano_usd is None else cost.nano_usd
    head = _UNCHECKED.pack(kind, key, run, cost.prompt, cost.completion, nano, len(raw))
    return head + zlib.crc32(raw, zlib.crc32(head)).to_bytes(4, "little") + raw


def read_frames(data: bytes, *, search: bool = False) -> Iterator[Frame]:
    """The whole frames at the beginning of `data`.

    It ends at the first that is torn or damaged; with `search` it looks behind that for the next
    good one, so that one bad sector does not hide the answers after it.
    """
    position = 0
    while (frame := _frame_at(data, position)) or search:
        if frame is None:
            following = _next_frame(data, position + 1)
            if following is None:
                return
            position, frame = following
        yield frame
        position = frame.offset + frame.length


def _frame_at(data: bytes, position: int) -> Frame | None:
    offset = position + HEAD.size
    if offset > len(data):
        return None
    kind, key, run, prompt, completion, nano, length, crc = HEAD.unpack_from(data, position)
    if kind not in (SENT, ANSWER, UNBILLED) or offset + length > len(data):
        return None
    head = zlib.crc32(memoryview(data)[position : offset - 4])
    if zlib.crc32(memoryview(data)[offset : offset + length], head) != crc:
        return None
    cost = Cost(prompt, completion, None if nano == UNKNOWN else nano)
    return Frame(kind, key, run, cost, offset, length)


def _next_frame(data: bytes, start: int) -> tuple[int, Frame] | None:
    for match in _KIND.finditer(data, start):
        if frame := _frame_at(data, match.start()):
            return match.start(), frame
    return None
