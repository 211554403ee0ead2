"""One token out of a position's logits. Pure functions: what else runs does not matter.

Shapes: V columns of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mwalimu.runtimes import Logits

Floats = np.ndarray[Any, np.dtype[np.float64]]


def log_softmax(logits_V: Logits) -> Floats:
    """Natural log-probabilities at temperature 1, in float64."""
    shifted_V = logits_V.astype(np.float64) - float(logits_V.max())
    normalised: Floats = shifted_V - np.log(np.exp(shifted_V).sum())
    return normalised


def likeliest(log_probs_V: Floats, count: int) -> list[tuple[int, float]]:
    """The `count` most probable ids with their log-probabilities, best first."""
    count = min(count, len(log_probs_V))
    if not count:
        return []
    best = np.argpartition(log_probs_V, -count)[-count:]
    best = best[np.lexsort((best, -log_probs_V[best]))]
    return [(int(i), float(log_probs_V[i])) for i in best]


def draw(logits_V: Logits, *, temperature: float, top_p: float, uniform: float) -> int:
    """The id that `uniform`, from [0, 1), points at; the likeliest one at temperature 0.

    Softmax of logits / temperature, restricted to the nucleus: the fewest ids, most probable
    first, whose probabilities sum to `top_p` or more (Holtzman et al. 2020, equation 3).
    """
    if temperature == 0:
        return int(np.argmax(logits_V))
    with np.errstate(over="ignore"):  # so cold that only the likeliest is left
        scaled_V = (logits_V.astype(np.float64) - float(logits_V.max())) / temperature
    probabilities_V = np.exp(scaled_V)
    probabilities_V /= probabilities_V.sum()
    order = np.argsort(-probabilities_V, kind="stable")
    cumulative = np.cumsum(probabilities_V[order])
    kept = min(int(np.searchsorted(cumulative, top_p)) + 1, len(order))
    place = np.searchsorted(cumulative[:kept], uniform * cumulative[kept - 1], side="right")
    return int(order[min(int(place), kept - 1)])


def uniforms(seed: int, choice: int) -> Iterator[float]:
    """Numbers from [0, 1), one a token: they depend on the request's seed and choice alone."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, choice])))
    while True:
        yield float(generator.random())
