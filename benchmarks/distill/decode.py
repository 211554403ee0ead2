"""Tokens a second that a cache of teacher signals decodes to, and its bytes a token, by encoding.

    OMP_NUM_THREADS=1 python benchmarks/distill/decode.py

The teacher is made up, with a vocabulary of 151,936: the tokens' probabilities fall with a power of
their rank that differs from token to token. `peaked` has the entropy of a model on its own answers,
`flat` that of a sentence which could go on in many ways, `even` knows nothing: no two draws are
equal, which is the most that sampled signals can take. Batches hold about 8,192 tokens of random
rows. Prints one JSON line an encoding.

Shapes: N tokens of all rows, K best tokens, D draws, V vocabulary.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mwalimu.signals import (
    Dense,
    DenseEncoding,
    Encoding,
    Identity,
    Sampled,
    SampledEncoding,
    Signal,
    SignalReader,
    SignalWriter,
    TopK,
    TopKEncoding,
)
from mwalimu.signals.signal import Array

VOCABULARY, DRAWS = 151_936, 12
BATCH_TOKENS, ROWS_PER_SHARD, DENSE_ROWS = 8_192, 256, 4
KINDS = 48  # different distributions; a token has one of them, over ids of its own
POWERS = {"peaked": (1.6, 8.0), "flat": (1.0, 2.0), "even": (0.0, 0.0)}
ODD = 40_503  # coprime to the vocabulary: rank -> id is one to one


@dataclass(frozen=True)
class Teacher:
    """Probabilities of C kinds of tokens, the best first, and their cumulative sums."""

    sorted_CV: Array
    sums_CV: Array

    @classmethod
    def made_up(cls, lowest: float, highest: float) -> Teacher:
        powers_C = np.linspace(lowest, highest, KINDS)
        weights_CV = np.arange(1.0, VOCABULARY + 1) ** -powers_C[:, None]
        sorted_CV = weights_CV / weights_CV.sum(axis=1, keepdims=True)
        return cls(sorted_CV, np.cumsum(sorted_CV, axis=1))

    @property
    def entropy_nats(self) -> float:
        return float(-(self.sorted_CV * np.log(self.sorted_CV)).sum(axis=1).mean())

    @property
    def best(self) -> float:
        """Mean probability of the most probable token."""
        return float(self.sorted_CV[:, 0].mean())

    def sampled(self, rng: np.random.Generator, tokens: int) -> Sampled:
        ranks_ND = np.empty((tokens, DRAWS), np.int64)
        kinds_N = rng.integers(0, KINDS, tokens)
        for kind in range(KINDS):
            chosen_N = kinds_N == kind
            uniform = rng.random((int(chosen_N.sum()), DRAWS))
            ranks_ND[chosen_N] = self.sums_CV[kind].searchsorted(uniform)
        ids_ND = _ids(ranks_ND.clip(max=VOCABULARY - 1), rng.integers(0, VOCABULARY, (tokens, 1)))
        return Sampled.from_draws(ids_ND)

    def topk(self, rng: np.random.Generator, tokens: int, k: int, top_p: float) -> TopK:
        kinds_N = rng.integers(0, KINDS, tokens)
        best_NK = self.sorted_CV[kinds_N, :k]
        kept_NK = self.sums_CV[kinds_N, :k] - best_NK < top_p
        ids_NK = _ids(np.arange(k), rng.integers(0, VOCABULARY, (tokens, 1)))
        tail_N = 1 - np.where(kept_NK, best_NK, 0).sum(axis=1)
        return TopK(
            ids_NK[kept_NK].astype(np.int32),
            np.log(best_NK[kept_NK]).astype(np.float32),
            kept_NK.sum(axis=1).astype(np.uint8),
            np.log(tail_N.clip(min=1e-12)).astype(np.float32),
        )

    def dense(self, rng: np.random.Generator, tokens: int) -> Dense:
        logp_NV = np.log(self.sorted_CV[rng.integers(0, KINDS, tokens)])
        return Dense(logp_NV.astype(np.float16))


def _ids(ranks: Array, shift: Array) -> Array:
    return (ranks * ODD + shift) % VOCABULARY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=768)
    parser.add_argument("--length", type=int, default=200, help="tokens a row")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name, powers in POWERS.items():
        teacher = Teacher.made_up(*powers)
        print(f"{name}: {teacher.entropy_nats:.2f} nats, best token {teacher.best:.2f}")
        for encoding, rows in _caches(teacher, arguments.rows, arguments.length):
            with tempfile.TemporaryDirectory() as folder:
                figures = _measure(Path(folder), encoding, rows, arguments.rounds)
            print(json.dumps({**encoding.parameters(), **figures}), flush=True)


def _caches(teacher: Teacher, rows: int, length: int) -> Iterator[tuple[Encoding, list[Signal]]]:
    rng = np.random.default_rng(0)
    yield (
        SampledEncoding(VOCABULARY, DRAWS),
        [teacher.sampled(rng, length) for _ in range(rows)],
    )
    for k, top_p in ((32, 0.999), (50, 1.0), (128, 1.0)):
        cut: list[Signal] = [teacher.topk(rng, length, k, top_p) for _ in range(rows)]
        yield TopKEncoding(VOCABULARY, k, top_p), cut
    yield DenseEncoding(VOCABULARY), [teacher.dense(rng, 128) for _ in range(DENSE_ROWS)]


def _measure(
    folder: Path, encoding: Encoding, signals: list[Signal], rounds: int
) -> dict[str, float]:
    identity = Identity("made up", "fake", "none", "none", VOCABULARY)
    rows = [(index.to_bytes(16, "big"), index, signal) for index, signal in enumerate(signals)]
    writer = SignalWriter(folder, encoding, identity, "benchmark", ROWS_PER_SHARD)
    started = time.perf_counter()
    for index, start in enumerate(range(0, len(rows), ROWS_PER_SHARD)):
        writer.write_shard(index, rows[start : start + ROWS_PER_SHARD])
    manifest = writer.finish()
    write_s = time.perf_counter() - started
    reader = SignalReader.open(folder)
    requests = [(key, crc, None) for key, crc, _ in rows]
    reader.gather(requests[:: max(1, ROWS_PER_SHARD // 2)])  # checks every shard's hash
    per_batch = max(1, BATCH_TOKENS * manifest.rows // manifest.tokens)
    seconds = []
    for round_number in range(rounds):
        random.Random(round_number).shuffle(requests)
        started = time.perf_counter()
        for start in range(0, len(requests), per_batch):
            reader.gather(requests[start : start + per_batch])
        seconds.append(time.perf_counter() - started)
    return {
        "bytes_a_token": round(manifest.size / manifest.tokens, 2),
        "tokens_a_s": round(manifest.tokens / statistics.median(seconds)),
        "tokens_a_s_written": round(manifest.tokens / write_s),
    }


if __name__ == "__main__":
    main()
