"""Whether a runtime computes what the student computes: its logits against the student's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mwalimu.errors import StudentError
from mwalimu.runtimes import Logits

Doubles = NDArray[np.float64]

TOLERANCE = 0.01
"""Of an fp32 export: the largest error in standard deviations of the student's logits.

Another order of additions moves them by 1e-6 to 1e-4; a wrong rotary base, mask or norm by 0.1
and more."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Over all positions of some rows, after each token.

    `max_error` and `rms_error` are in standard deviations of the student's logits; infinite where a
    logit is not finite. `kl` is the mean of KL(student || export) in nats. `same_best` is the share
    of positions whose likeliest token is the student's.
    """

    rows: int
    positions: int
    max_error: float
    rms_error: float
    kl: float
    same_best: float


def compare(pairs: Iterable[tuple[Logits, Logits]]) -> Parity:
    """Pairs of float32 [positions, vocabulary], the student's first; one pair is held at a time.

    A runtime may leave out, or add, padding columns at the end: those that both have are compared.
    The standard deviation is that of a position's logits over the vocabulary, root mean square
    over the positions.
    """
    rows = positions = numbers = 0
    square = largest = variance = divergence = same = 0.0
    for pair in pairs:
        width = min(one.shape[1] for one in pair)
        own_TV, other_TV = (one[:, :width].astype(np.float64) for one in pair)
        error_TV = np.where(np.isfinite(other_TV), np.abs(other_TV - own_TV), np.inf)
        rows += 1
        positions += len(own_TV)
        numbers += own_TV.size
        square += float((error_TV**2).sum())
        largest = max(largest, float(error_TV.max()))
        variance += float(own_TV.var(axis=1).sum())
        same += float((own_TV.argmax(axis=1) == other_TV.argmax(axis=1)).sum())
        divergence += _divergence(own_TV, np.nan_to_num(other_TV))
    spread = float(np.sqrt(variance / positions))
    return Parity(
        rows=rows,
        positions=positions,
        max_error=largest / spread,
        rms_error=float(np.sqrt(square / numbers)) / spread,
        kl=divergence / positions,
        same_best=same / positions,
    )


def require_parity(name: str, precision: str, parity: Parity) -> None:
    """An export in full precision computes what the student computes; others are only measured.

    Raises:
        StudentError: the largest error of an fp32 export is beyond TOLERANCE.
    """
    if precision == "fp32" and not parity.max_error <= TOLERANCE:
        raise StudentError(
            f"computes something else than the student: its logits are up to "
            f"{parity.max_error:.2g} of their spread away, {TOLERANCE:g} is allowed",
            where=f"export {name}",
            fix="this format does not carry this model; export it to another one",
        )


def _divergence(own_TV: Doubles, other_TV: Doubles) -> float:
    """KL(own || other) in nats, summed over the positions."""
    log_p_TV, log_q_TV = map(_log_softmax, (own_TV, other_TV))
    return float((np.exp(log_p_TV) * (log_p_TV - log_q_TV)).sum())


def _log_softmax(logits_TV: Doubles) -> Doubles:
    shifted_TV = logits_TV - logits_TV.max(axis=1, keepdims=True)
    result: Doubles = shifted_TV - np.log(np.exp(shifted_TV).sum(axis=1, keepdims=True))
    return result
