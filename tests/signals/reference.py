"""A reader of the cache written apart, from docs/formats.md alone: plain Python, a loop a token."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

CODES = {"U8": "B", "I8": "b", "U16": "H", "F16": "e", "U32": "I", "F32": "f", "U64": "Q"}


def arrays(path: Path) -> dict[str, list[Any]]:
    """Flat lists by name, whatever the shape."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :]
    found = {}
    for name, spec in header.items():
        if name != "__metadata__":
            start, stop = spec["data_offsets"]
            found[name] = [
                v for (v,) in struct.iter_unpack("<" + CODES[spec["dtype"]], data[start:stop])
            ]
    return found


def rows(folder: Path) -> dict[bytes, tuple[int, list[Any]]]:
    """By key: CRC and one decoded item a token."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    decode = globals()[f"_{manifest['encoding']['kind']}"]
    found = {}
    for shard in manifest["shards"]:
        stored = arrays(folder / shard["file"])
        for row in range(len(stored["crc"])):
            first, last = stored["token_offsets"][row : row + 2]
            key = bytes(stored["keys"][16 * row : 16 * row + 16])
            tokens = decode(manifest["encoding"], stored, first, last, stored["entry_offsets"][row])
            found[key] = (stored["crc"][row], tokens)
    return found


def _entries(stored: dict[str, list[Any]], first: int, last: int, entry: int) -> list[range]:
    spans = []
    for token in range(first, last):
        spans.append(range(entry, entry + stored["sizes"][token]))
        entry = spans[-1].stop
    return spans


def _sampled(encoding: Any, stored: Any, first: int, last: int, entry: int) -> list[Any]:
    """{id: weight} a token."""
    tokens = []
    for span in _entries(stored, first, last, entry):
        weights = {}
        for e in span:
            high = stored["id_high_count"][e]
            token = stored["id_low"][e] + ((high // 64) << 16)
            if encoding["vocabulary"] > 2**18:
                token += stored["id_highest"][e] << 18
            weights[token] = (high % 64 + 1) / encoding["draws"]
        tokens.append(weights)
    return tokens


def _topk(encoding: Any, stored: Any, first: int, last: int, entry: int) -> list[Any]:
    """({id: log-prob}, log of the tail's mass) a token."""
    bits, step = encoding["id_bits"], encoding["step_nats"]
    tokens = []
    for token, span in enumerate(_entries(stored, first, last, entry), first):
        logp = {}
        for e in span:
            level, token_id = divmod(stored["entries"][e], 1 << bits)
            logp[token_id] = -level * step
        level = stored["tail"][token]
        tail = -math.inf if level == 65535 else -level * encoding["tail_step_nats"]
        total = math.log(math.fsum([*map(math.exp, logp.values()), math.exp(tail)]))
        tokens.append(({i: value - total for i, value in logp.items()}, tail - total))
    return tokens


def _dense(encoding: Any, stored: Any, first: int, last: int, entry: int) -> list[Any]:
    width = encoding["vocabulary"]
    return [stored["logprobs"][t * width : (t + 1) * width] for t in range(first, last)]


def _hidden(encoding: Any, stored: Any, first: int, last: int, entry: int) -> list[Any]:
    layers, size = len(encoding["layers"]), encoding["size"]
    tokens = []
    for token in range(first, last):
        states = []
        for place in range(token * layers, (token + 1) * layers):
            scale = stored["scale"][place] if encoding["dtype"] == "int8" else 1.0
            states.append([v * scale for v in stored["states"][place * size : (place + 1) * size]])
        tokens.append(states)
    return tokens


def _realised(encoding: Any, stored: Any, first: int, last: int, entry: int) -> list[Any]:
    """(log-prob, bytes) a token."""
    s = math.sqrt(encoding["range_nats"]) / (encoding["levels"] - 1)
    return [
        (-((stored["logprobs"][t] * s) ** 2), stored["byte_lengths"][t]) for t in range(first, last)
    ]
