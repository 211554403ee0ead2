"""What a teacher said of the n completion tokens of one row, and of the N tokens of a batch.

Shapes: n tokens of a row, N tokens of a batch row by row, E entries of all these tokens, K entries
of the token that has most, D draws, V vocabulary, L layers, H the teacher's hidden size.
Log-probabilities are natural logarithms (nats).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def _check(fits: bool, kind: str) -> None:
    if not fits:
        raise ValueError(f"the arrays of {kind} signals contradict each other in length")


@dataclass(frozen=True, slots=True)
class Sampled:
    """Draws of the teacher's distribution: unbiased for whatever is linear in its probabilities.

    `ids` (E,) int32, `counts` (E,) uint8, token by token; `sizes` (n,) uint8: entries of a token.
    """

    ids: Array
    counts: Array
    sizes: Array

    def __post_init__(self) -> None:
        _check(len(self.ids) == len(self.counts) == int(self.sizes.sum()), "sampled")

    @classmethod
    def from_draws(cls, draws_nD: Array) -> Sampled:
        """Equal draws of a token become one entry; the ids of a token are sorted."""
        sorted_nD = np.sort(np.asarray(draws_nD), axis=1)
        new_nD = np.ones(sorted_nD.shape, dtype=bool)
        new_nD[:, 1:] = sorted_nD[:, 1:] != sorted_nD[:, :-1]
        starts_E = np.flatnonzero(new_nD)
        return cls(
            ids=sorted_nD.ravel()[starts_E].astype(np.int32),
            counts=np.diff(starts_E, append=sorted_nD.size).astype(np.uint8),
            sizes=new_nD.sum(axis=1).astype(np.uint8),
        )


@dataclass(frozen=True, slots=True)
class TopK:
    """The most probable tokens, and the log of the mass of all others (-inf: none).

    `ids` (E,) int32, `logprobs` (E,) float32; `sizes` (n,) uint8; `tail` (n,) float32.
    """

    ids: Array
    logprobs: Array
    sizes: Array
    tail: Array

    def __post_init__(self) -> None:
        _check(len(self.ids) == len(self.logprobs) == int(self.sizes.sum()), "topk")
        _check(len(self.sizes) == len(self.tail), "topk")


@dataclass(frozen=True, slots=True)
class Dense:
    """`logprobs` (n, V), float16 or float32."""

    logprobs: Array


@dataclass(frozen=True, slots=True)
class Hidden:
    """`states` (n, L, H) float32, of the encoding's layers in their order."""

    states: Array


@dataclass(frozen=True, slots=True)
class Realised:
    """Of each completion token in the teacher's own tokenization, for students with another one.

    `logprobs` (n,) float32; `byte_lengths` (n,) uint16: how many UTF-8 bytes of the answer the
    token covers, 0 for a control token such as the end of the turn.
    """

    logprobs: Array
    byte_lengths: Array

    def __post_init__(self) -> None:
        _check(len(self.logprobs) == len(self.byte_lengths), "realised")


Signal = Sampled | TopK | Dense | Hidden | Realised


class SampledBatch(NamedTuple):
    """`ids_NK` int64, `weight_NK` float32 (counts / draws); pads are id 0 with weight 0."""

    ids_NK: Array
    weight_NK: Array


class TopKBatch(NamedTuple):
    """`ids_NK` int64, `logp_NK` float32 (pads: id 0 with -inf), `tail_N` float32.

    Entries and tail of a token sum to 1.
    """

    ids_NK: Array
    logp_NK: Array
    tail_N: Array


class DenseBatch(NamedTuple):
    """`logp_NV` float32."""

    logp_NV: Array


class HiddenBatch(NamedTuple):
    """`states_NLH` float32."""

    states_NLH: Array


class RealisedBatch(NamedTuple):
    """`logp_N` float32, `bytes_N` int64, and `row_sizes` int64: how many tokens a row has."""

    logp_N: Array
    bytes_N: Array
    row_sizes: Array


Batch = SampledBatch | TopKBatch | DenseBatch | HiddenBatch | RealisedBatch
