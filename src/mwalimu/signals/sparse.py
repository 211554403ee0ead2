"""Encodings that keep a few entries of each token: what was drawn, or what is most probable.

Shapes: N tokens, E entries of all tokens, K entries of the fullest token, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mwalimu.signals.encoding import (
    Encoding,
    Field,
    Stored,
    check_ids,
    check_logprobs,
    check_sizes,
    check_vocabulary,
    joined,
    only,
    padded,
    padded_places,
)
from mwalimu.signals.signal import Array, Sampled, SampledBatch, Signal, TopK, TopKBatch

MAX_DRAWS = 64  # a count has six bits
NARROW_IDS = 1 << 18  # ids below this need no third byte plane
MAX_K = 255  # a token's number of entries is one byte
TAIL_LEVELS = 1 << 16
NO_TAIL = TAIL_LEVELS - 1


@dataclass(frozen=True)
class SampledEncoding(Encoding):
    """`draws` draws a token. 3 bytes an entry (4 where V > 2^18) and 1 a token; exact."""

    vocabulary: int
    draws: int

    kind: ClassVar[str] = "sampled"

    def __post_init__(self) -> None:
        check_vocabulary(self.vocabulary)
        if not 1 <= self.draws <= MAX_DRAWS:
            raise ValueError(f"{self.draws} draws: 1 to {MAX_DRAWS} can be stored")

    @property
    def _wide(self) -> bool:
        return self.vocabulary > NARROW_IDS

    def fields(self) -> tuple[Field, ...]:
        highest = (Field("id_highest", "u1", "entry"),) if self._wide else ()
        return (
            Field("id_low", "<u2", "entry"),
            Field("id_high_count", "u1", "entry"),
            *highest,
            Field("sizes", "u1"),
        )

    def pack(self, signals: Sequence[Signal]) -> dict[str, Array]:
        rows = only(Sampled, signals)
        ids_E = joined([row.ids for row in rows], "i8")
        counts_E = joined([row.counts for row in rows], "u1")
        sizes_N = joined([row.sizes for row in rows], "u1")
        self._check(ids_E, counts_E, sizes_N)
        stored = {
            "id_low": (ids_E & 0xFFFF).astype("<u2"),
            "id_high_count": ((ids_E >> 16 & 3) << 6 | (counts_E - 1)).astype("u1"),
            "sizes": sizes_N,
        }
        if self._wide:
            stored["id_highest"] = (ids_E >> 18).astype("u1")
        return stored

    def batch(self, stored: Stored, row_sizes: Array) -> SampledBatch:
        ids_E, counts_E = self._entries(stored)
        shape, places_E = padded_places(stored["sizes"])
        weight_E = counts_E.astype(np.float32) / np.float32(self.draws)
        return SampledBatch(
            padded(ids_E.astype(np.int64), shape, places_E, 0),
            padded(weight_E, shape, places_E, 0.0),
        )

    def unpack(self, stored: Stored) -> Sampled:
        ids_E, counts_E = self._entries(stored)
        return Sampled(ids_E, counts_E, stored["sizes"])

    def _entries(self, stored: Stored) -> tuple[Array, Array]:
        """Ids (E,) int32 and counts (E,) uint8."""
        ids_E = stored["id_low"].astype(np.int32)
        high_E = stored["id_high_count"]
        ids_E |= (high_E >> 6).astype(np.int32) << 16
        if self._wide:
            ids_E |= stored["id_highest"].astype(np.int32) << 18
        counts_E = (high_E & 63) + np.uint8(1)
        self._check(ids_E, counts_E, stored["sizes"])
        return ids_E, counts_E

    def _check(self, ids_E: Array, counts_E: Array, sizes_N: Array) -> None:
        check_sizes(sizes_N, len(ids_E))
        check_ids(ids_E, self.vocabulary)
        # A token has at least one entry, so that each start below is its own.
        if len(sizes_N) == 0:
            return
        ends_N = np.cumsum(sizes_N, dtype=np.int64)
        drawn_N = (
            np.add.reduceat(counts_E, ends_N - sizes_N, dtype=np.int64) if sizes_N.all() else 0
        )
        if not np.all(drawn_N == self.draws) or counts_E.min() == 0:
            raise ValueError(f"the counts of a token do not sum to {self.draws} draws")


@dataclass(frozen=True)
class TopKEncoding(Encoding):
    """Up to `k` entries a token, cut where they hold `top_p` of the mass, and the tail's mass.

    An entry is 32 bits: the id in as many as V needs, the log-probability, in steps of
    `step_nats`, in the rest; the tail is 16 bits and its step `range_nats` / 65536. What is below
    minus the range is raised to the last level. Decoded entries and tail are divided by their sum
    (in float64), so that a log-probability is off by at most half its own step, and half the
    greater of both steps for the sum. 4 bytes an entry and 3 a token.
    """

    vocabulary: int
    k: int
    top_p: float = 1.0
    range_nats: float = 32.0

    kind: ClassVar[str] = "topk"

    def __post_init__(self) -> None:
        check_vocabulary(self.vocabulary)
        if not 1 <= self.k <= MAX_K:
            raise ValueError(f"k of {self.k}: 1 to {MAX_K} can be stored")
        if not 0 < self.top_p <= 1 or not 0 < self.range_nats <= 512:
            raise ValueError("top_p has to be in (0, 1] and range_nats in (0, 512]")

    @property
    def id_bits(self) -> int:
        return max(1, (self.vocabulary - 1).bit_length())

    @property
    def levels(self) -> int:
        return 1 << (32 - self.id_bits)

    @property
    def step_nats(self) -> float:
        return self.range_nats / self.levels

    @property
    def tail_step_nats(self) -> float:
        return self.range_nats / TAIL_LEVELS

    def parameters(self) -> dict[str, Any]:
        steps = {"step_nats": self.step_nats, "tail_step_nats": self.tail_step_nats}
        return {**super().parameters(), "id_bits": self.id_bits, **steps}

    def fields(self) -> tuple[Field, ...]:
        return (Field("entries", "<u4", "entry"), Field("sizes", "u1"), Field("tail", "<u2"))

    def pack(self, signals: Sequence[Signal]) -> dict[str, Array]:
        rows = only(TopK, signals)
        ids_E = joined([row.ids for row in rows], "i8")
        logp_E = joined([row.logprobs for row in rows], "f8")
        sizes_N = joined([row.sizes for row in rows], "u1")
        tail_N = joined([row.tail for row in rows], "f8")
        self._check(ids_E, sizes_N, np.isfinite(tail_N))
        check_logprobs(logp_E)
        check_logprobs(tail_N)
        codes_E = _quantised(logp_E, self.step_nats, self.levels - 1).astype(np.uint32)
        tails_N = _quantised(tail_N, self.tail_step_nats, NO_TAIL - 1)
        return {
            "entries": (codes_E << np.uint32(self.id_bits) | ids_E.astype(np.uint32)).astype("<u4"),
            "sizes": sizes_N,
            "tail": np.where(np.isneginf(tail_N), NO_TAIL, tails_N).astype("<u2"),
        }

    def batch(self, stored: Stored, row_sizes: Array) -> TopKBatch:
        entries_E, sizes_N = stored["entries"], stored["sizes"]
        ids_E = (entries_E & np.uint32((1 << self.id_bits) - 1)).astype(np.int64)
        self._check(ids_E, sizes_N, stored["tail"] != NO_TAIL)
        logp_E = (entries_E >> np.uint32(self.id_bits)) * -self.step_nats
        tail_N = stored["tail"] * -self.tail_step_nats
        tail_N[stored["tail"] == NO_TAIL] = -np.inf
        shape, places_E = padded_places(sizes_N)
        mass_NK = padded(np.exp(logp_E), shape, places_E, 0.0)
        log_sum_N = np.log(mass_NK.sum(axis=1) + np.exp(tail_N))
        logp_E -= np.repeat(log_sum_N, sizes_N)
        return TopKBatch(
            padded(ids_E, shape, places_E, 0),
            padded(logp_E.astype(np.float32), shape, places_E, -np.inf),
            (tail_N - log_sum_N).astype(np.float32),
        )

    def unpack(self, stored: Stored) -> TopK:
        sizes_N = stored["sizes"]
        ids_NK, logp_NK, tail_N = self.batch(stored, np.array([len(sizes_N)]))
        _, places_E = padded_places(sizes_N)
        ids_E = ids_NK.ravel()[places_E].astype(np.int32)
        return TopK(ids_E, logp_NK.ravel()[places_E], sizes_N, tail_N)

    def _check(self, ids_E: Array, sizes_N: Array, has_tail_N: Array) -> None:
        check_sizes(sizes_N, len(ids_E))
        check_ids(ids_E, self.vocabulary)
        if int(sizes_N.max(initial=0)) > self.k:
            raise ValueError(f"a token has more than {self.k} entries")
        if not (has_tail_N | (sizes_N > 0)).all():
            raise ValueError("a token has neither entries nor a tail")


def _quantised(logp: Array, step: float, highest: int) -> Array:
    """Levels 0 to `highest`, float64; -inf goes to the highest."""
    levels: Array = np.clip(np.rint(logp / -step), 0, highest)
    return levels
