"""Made-up signals of every encoding, and folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mwalimu.signals import (
    Dense,
    DenseEncoding,
    Encoding,
    Hidden,
    HiddenEncoding,
    Identity,
    Realised,
    RealisedEncoding,
    Sampled,
    SampledEncoding,
    Signal,
    SignalWriter,
    TopK,
    TopKEncoding,
)
from mwalimu.signals.shard import Row

VOCABULARY = 300
IDENTITY = Identity(
    teacher="models/teacher",
    kind="local",
    tokenizer="tok-1",
    template="tmpl-1",
    vocabulary=VOCABULARY,
    files={"model.safetensors": "aa"},
    source={"made by": "the tests"},
)
ENCODINGS: dict[str, Encoding] = {
    "sampled": SampledEncoding(VOCABULARY, 12),
    "topk": TopKEncoding(VOCABULARY, 8, 0.9),
    "dense": DenseEncoding(VOCABULARY),
    "float16": HiddenEncoding((2, 5), 6),
    "int8": HiddenEncoding((2, 5), 6, "int8"),
    "realised": RealisedEncoding(),
}


def log_probabilities(rng: np.random.Generator, tokens: int, vocabulary: int) -> np.ndarray:
    """(n, V) float64 that sum to 1."""
    logits = rng.normal(scale=4.0, size=(tokens, vocabulary))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def topk(rng: np.random.Generator, tokens: int, vocabulary: int, k: int) -> TopK:
    """The best 0 to k entries a token; a token may have no tail, never neither."""
    logp = log_probabilities(rng, tokens, vocabulary)
    ids, values, sizes, tails = [], [], [], []
    for row in logp:
        size = int(rng.integers(0, k + 1))
        best = np.argsort(-row)[:size]
        rest = np.exp(np.delete(row, best)).sum()
        no_tail = size > 0 and rng.random() < 0.2
        ids.append(best)
        values.append(row[best] - (np.log(1 - rest) if no_tail else 0))
        sizes.append(size)
        tails.append(-np.inf if no_tail else np.log(rest))
    none = [np.empty(0)]
    return TopK(
        np.concatenate([*none, *ids]).astype(np.int32),
        np.concatenate([*none, *values]).astype(np.float32),
        np.array(sizes, np.uint8),
        np.array(tails, np.float32),
    )


def signal_for(encoding: Encoding, rng: np.random.Generator, tokens: int) -> Signal:
    match encoding:
        case SampledEncoding():
            exponential = rng.exponential(8.0, (tokens, encoding.draws)).astype(np.int64)
            return Sampled.from_draws(exponential % encoding.vocabulary)
        case TopKEncoding():
            return topk(rng, tokens, encoding.vocabulary, encoding.k)
        case DenseEncoding():
            return Dense(log_probabilities(rng, tokens, encoding.vocabulary).astype(np.float32))
        case HiddenEncoding():
            shape = (tokens, len(encoding.layers), encoding.size)
            return Hidden(rng.normal(scale=30.0, size=shape).astype(np.float32))
    logp = -rng.exponential(2.0, tokens)
    return Realised(logp.astype(np.float32), rng.integers(0, 9, tokens).astype(np.uint16))


def key_of(number: int) -> bytes:
    """Many end in a zero byte, which numpy's own bytes would drop."""
    return (number * 256).to_bytes(16, "big")


def rows_for(encoding: Encoding, lengths: Sequence[int], seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [
        (key_of(number), 1000 + number, signal_for(encoding, rng, length))
        for number, length in enumerate(lengths)
    ]


def write(folder: Path, encoding: Encoding, rows: Sequence[Row], per_shard: int = 4) -> None:
    writer = SignalWriter(folder, encoding, IDENTITY, "job", per_shard)
    for index, start in enumerate(range(0, len(rows), per_shard)):
        if not writer.shard_done(index):
            writer.write_shard(index, rows[start : start + per_shard])
    writer.finish()


def length_of(signal: Signal) -> int:
    match signal:
        case Sampled() | TopK():
            return len(signal.sizes)
        case Hidden():
            return len(signal.states)
    return len(signal.logprobs)
