"""What is kept of a teacher's distribution beside an answer, and how it is stored with it.

It is asked for with the answer and changes nothing of it: the same passes of the model generate
the text and are reduced to what is kept. Imports no torch.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mwalimu.config import Config, capture_temperature, needed_signals
from mwalimu.data.record import Json

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]
"""By name, a token a row: what `reduction.reduce` makes."""

IN_A_PASS = frozenset(("sampled", "topk", "dense", "realised"))
"""What the logits of a pass are enough for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`encodings` of the signals, and how each is cut down; 0 where an encoding is not wanted.

    `temperature` divides the logits of all of them but `realised`. Of the logits the first
    `vocabulary` count; 0: all that have a token.
    """

    encodings: tuple[str, ...]
    draws: int = 0
    k: int = 0
    top_p: float = 0.0
    temperature: float = 1.0
    vocabulary: int = 0

    @classmethod
    def of(cls, config: Config) -> Kept:
        """What the objective needs, less hidden states."""
        names = tuple(name for name in needed_signals(config) if name in IN_A_PASS)
        settings = config.signals
        return cls(
            names,
            settings.draws if "sampled" in names else 0,
            settings.k if "topk" in names else 0,
            settings.top_p if "topk" in names else 0.0,
            capture_temperature(config),
            settings.vocabulary or 0,
        )

    def to_json(self) -> Json:
        return asdict(self) | {"encodings": list(self.encodings)}


def draw_key(request_key: str) -> bytes:
    """Of the draws that are kept of an answer: the same whoever draws them, and whenever."""
    return bytes.fromhex(request_key)[:16]


def uniforms(key: bytes, tokens: int, draws: int) -> Array:
    """[tokens, draws] float64 in [0, 1) that depend on `key` (16 bytes) alone.

    Counter-based (Philox), so that a row's draws are the same beside whatever other rows, in one
    piece or token by token: those of fewer tokens are the first of more.
    """
    raw = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(tokens * draws)
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(tokens, draws)


def pack(arrays: Mapping[str, Array]) -> Json:
    """For JSON: type, width and the bytes, which are mostly pads and repetitions, compressed."""
    return {
        name: [
            array.dtype.str,
            list(array.shape[1:]),
            b64encode(zlib.compress(array.tobytes(), 1)).decode(),
        ]
        for name, array in arrays.items()
    }


def unpack(packed: Json) -> Arrays:
    """Raises ValueError, KeyError or TypeError for what `pack` has not made."""
    found = {}
    for name, (kind, width, text) in packed.items():
        try:
            content = zlib.decompress(b64decode(text, validate=True))
        except zlib.error as error:
            raise ValueError(str(error)) from None
        found[name] = np.frombuffer(content, np.dtype(kind)).reshape(-1, *width)
    return found
