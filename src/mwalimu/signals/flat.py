"""Encodings with the same number of values for each token: all log-probabilities, states, or one.

Shapes: n tokens of a row, N tokens, V vocabulary, L layers, H the teacher's hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mwalimu.errors import TeacherError
from mwalimu.signals.encoding import (
    Encoding,
    Field,
    Stored,
    check_finite,
    check_logprobs,
    check_vocabulary,
    joined,
    only,
)
from mwalimu.signals.signal import (
    Array,
    Dense,
    DenseBatch,
    Hidden,
    HiddenBatch,
    Realised,
    RealisedBatch,
    Signal,
)

MAX_LAYERS, MAX_HIDDEN = 1024, 1 << 20
INT8_MAX = 127
REALISED_RANGE = 64.0
REALISED_LEVELS = 1 << 16


@dataclass(frozen=True)
class DenseEncoding(Encoding):
    """All V log-probabilities as float16: 2 V bytes a token.

    Off by at most 2^-11 of the value (1/128 nat between -32 and -16); below -65504 is -inf.
    """

    vocabulary: int

    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        check_vocabulary(self.vocabulary)

    def fields(self) -> tuple[Field, ...]:
        return (Field("logprobs", "<f2", width=(self.vocabulary,), gathered="f4"),)

    def pack(self, signals: Sequence[Signal]) -> dict[str, Array]:
        rows = only(Dense, signals)
        logp_NV = _stacked([row.logprobs for row in rows], (self.vocabulary,))
        check_logprobs(logp_NV)
        with np.errstate(over="ignore"):
            return {"logprobs": logp_NV.astype("<f2")}

    def batch(self, stored: Stored, row_sizes: Array) -> DenseBatch:
        return DenseBatch(stored["logprobs"])

    def unpack(self, stored: Stored) -> Dense:
        return Dense(stored["logprobs"])


@dataclass(frozen=True)
class HiddenEncoding(Encoding):
    """States of `layers`, `size` numbers each.

    float16: 2 L H bytes a token, off by at most 2^-11 of the value. int8: L (H + 4) bytes, off by
    at most 1/254 of the largest magnitude in the token's state of that layer.
    """

    layers: tuple[int, ...]
    size: int
    dtype: str = "float16"

    kind: ClassVar[str] = "hidden"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # JSON gives a list
        if not 1 <= len(self.layers) <= MAX_LAYERS or not 1 <= self.size <= MAX_HIDDEN:
            raise ValueError(f"1 to {MAX_LAYERS} layers of 1 to {MAX_HIDDEN} can be stored")
        if not all(isinstance(layer, int) for layer in self.layers):
            raise ValueError("layers have to be whole numbers")
        if self.dtype not in ("float16", "int8"):
            raise ValueError(f"dtype {self.dtype}: float16 or int8 can be stored")

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "layers": list(self.layers)}

    def fields(self) -> tuple[Field, ...]:
        width = (len(self.layers), self.size)
        if self.dtype == "float16":
            return (Field("states", "<f2", width=width, gathered="f4"),)
        scale = Field("scale", "<f4", width=width[:1])
        return (Field("states", "i1", width=width, gathered="f4"), scale)

    def pack(self, signals: Sequence[Signal]) -> dict[str, Array]:
        rows = only(Hidden, signals)
        states_NLH = _stacked([row.states for row in rows], (len(self.layers), self.size))
        check_finite(states_NLH, "hidden states")
        if self.dtype == "int8":
            return _as_int8(states_NLH)
        largest = np.finfo(np.float16).max
        if np.abs(states_NLH).max(initial=0) > largest:
            raise TeacherError(
                f"a hidden state is above {largest:.0f}, the largest number of float16",
                fix="store the states as int8",
            )
        return {"states": states_NLH.astype("<f2")}

    def batch(self, stored: Stored, row_sizes: Array) -> HiddenBatch:
        states_NLH = stored["states"]
        if self.dtype == "int8":
            states_NLH *= stored["scale"][:, :, None]  # in place: what was gathered is a copy
        return HiddenBatch(states_NLH)

    def unpack(self, stored: Stored) -> Hidden:
        return Hidden(self.batch(stored, np.array([len(stored["states"])])).states_NLH)


@dataclass(frozen=True)
class RealisedEncoding(Encoding):
    """Log-prob and bytes covered of each of the teacher's own tokens: 4 bytes a token.

    The level is round(sqrt(-logprob) / s) with s = 8 / 65535, so that values near 0, where
    probabilities near 1 are told apart, have the smallest error: s sqrt(-logprob) + s^2 / 4, which
    is 1.2e-4 nats at -1 and never 0.001. What is below -64 is raised to -64.
    """

    kind: ClassVar[str] = "realised"

    def parameters(self) -> dict[str, Any]:
        return {"kind": self.kind, "range_nats": REALISED_RANGE, "levels": REALISED_LEVELS}

    def fields(self) -> tuple[Field, ...]:
        return (Field("logprobs", "<u2"), Field("byte_lengths", "<u2"))

    def pack(self, signals: Sequence[Signal]) -> dict[str, Array]:
        rows = only(Realised, signals)
        logp_N = joined([row.logprobs for row in rows], "f8")
        bytes_N = joined([row.byte_lengths for row in rows], "u2")
        check_logprobs(logp_N)
        levels_N = np.rint(np.sqrt(np.clip(-logp_N, 0, REALISED_RANGE)) / _REALISED_STEP)
        return {"logprobs": levels_N.astype("<u2"), "byte_lengths": bytes_N}

    def batch(self, stored: Stored, row_sizes: Array) -> RealisedBatch:
        logp_N = -np.square(stored["logprobs"] * _REALISED_STEP)
        bytes_N = stored["byte_lengths"].astype(np.int64)
        return RealisedBatch(logp_N.astype(np.float32), bytes_N, row_sizes.astype(np.int64))

    def unpack(self, stored: Stored) -> Realised:
        logp_N = self.batch(stored, np.array([len(stored["logprobs"])])).logp_N
        return Realised(logp_N, stored["byte_lengths"])


_REALISED_STEP = float(np.sqrt(REALISED_RANGE)) / (REALISED_LEVELS - 1)


def _stacked(parts: Sequence[Array], width: tuple[int, ...]) -> Array:
    """(N, *width) of (n, *width) each."""
    if any(part.shape[1:] != width for part in parts):
        raise ValueError(f"a signal has another shape than (tokens, {', '.join(map(str, width))})")
    return np.concatenate(parts) if parts else np.empty((0, *width), np.float32)


def _as_int8(states_NLH: Array) -> dict[str, Array]:
    """Each state over its largest magnitude, times 127; a state of zeros has scale 0."""
    scale_NL = (np.abs(states_NLH).max(axis=2) / INT8_MAX).astype("<f4")
    divisor_NL1 = np.where(scale_NL > 0, scale_NL, 1)[:, :, None]
    levels_NLH = np.rint(states_NLH / divisor_NL1).clip(-INT8_MAX, INT8_MAX)
    return {"states": levels_NLH.astype("i1"), "scale": scale_NL}
