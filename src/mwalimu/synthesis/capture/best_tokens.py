"""The best tokens that somebody reports, with their log-probabilities, as a whole distribution.

What is not reported is one tail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mwalimu.signals import TopK
from mwalimu.teachers.unreported import most_outside, unreported_mass

INCONSISTENT = 1e-3  # more than any rounding makes of a sum
IMPOSSIBLE = -100.0  # servers write -9999, or minus infinity, for "not reported"


class BestTokens:
    """Collects the tokens of one row; at most `k` are kept of each, until they hold `top_p`."""

    def __init__(self, vocabulary: int, k: int, top_p: float) -> None:
        self.vocabulary = vocabulary
        self.k = k
        self.top_p = top_p
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._sizes: list[int] = []
        self._tails: list[float] = []

    def add(
        self, known: Mapping[int, float], best: Sequence[float], unknown: Sequence[float] = ()
    ) -> None:
        """A token's place: the log-probabilities of `known` ids and of `unknown` ones.

        `best` are those of all the most probable tokens in the list, known or not.

        Raises:
            ValueError: these are no log-probabilities of one distribution.
        """
        likely = {i: value for i, value in known.items() if value > IMPOSSIBLE}
        listed = [*likely.values(), *(value for value in unknown if value > IMPOSSIBLE)]
        reported = math.fsum(map(math.exp, listed))
        # No list, no bound.
        bound = (self.vocabulary - len(listed), min(best)) if best else (1, 0.0)
        if not -INCONSISTENT <= 1 - reported <= most_outside(*bound) + INCONSISTENT:
            raise ValueError("no distribution has these log-probabilities")
        outside = unreported_mass(reported, *bound)
        order = sorted(likely, key=lambda i: (-likely[i], i))
        size = self._size([likely[i] for i in order])
        dropped = [*(likely[i] for i in order[size:]), *listed[len(likely) :]]
        tail = outside + math.fsum(map(math.exp, dropped))
        self._put(order[:size], [likely[i] for i in order[:size]], tail)

    def add_certain(self, token: int) -> None:
        """All mass on one token."""
        self._put([token], [0.0], 0.0)

    def signal(self) -> TopK:
        return TopK(
            np.array(self._ids, np.int32),
            np.array(self._logprobs, np.float32),
            np.array(self._sizes, np.uint8),
            np.array(self._tails, np.float32),
        )

    def _size(self, ordered: Sequence[float]) -> int:
        """How many are kept."""
        before = 0.0
        for size, value in enumerate(ordered):
            if size == self.k or before >= self.top_p:
                return size
            before += math.exp(value)
        return len(ordered)

    def _put(self, ids: Sequence[int], logprobs: Sequence[float], tail: float) -> None:
        self._ids += ids
        self._logprobs += logprobs
        self._sizes.append(len(ids))
        self._tails.append(math.log(tail) if tail > 0 else -math.inf)
