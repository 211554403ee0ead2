"""How often the 95 % intervals hold the truth: `python benchmarks/evaluation/coverage.py`.

Each line: rows, what is estimated, and the share of simulated test sets whose interval holds it.
The plain percentile bootstrap stands beside for shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from mwalimu.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    mean_interval,
)

Make = Callable[[np.random.Generator, int, int], Interval]


def share(p: float, interval: Callable[..., Interval]) -> Make:
    def make(generator: np.random.Generator, rows: int, seed: int) -> Interval:
        return interval((generator.random(rows) < p).astype(float), draws=DRAWS, seed=seed)

    return make


def beta(a: float, b: float) -> Make:
    def make(generator: np.random.Generator, rows: int, seed: int) -> Interval:
        return mean_interval(generator.beta(a, b, rows), draws=DRAWS, seed=seed)

    return make


def paired(interval: Callable[..., Interval]) -> Make:
    """Two arms that agree on most rows, right on 80 and 90 % of them."""

    def make(generator: np.random.Generator, rows: int, seed: int) -> Interval:
        ours = generator.random(rows)
        theirs = np.where(generator.random(rows) < 0.7, ours, generator.random(rows))
        columns = (ours < 0.8).astype(float), (theirs < 0.9).astype(float)
        return interval(*columns, draws=DRAWS, seed=seed)

    return make


DRAWS = 1000
CASES: dict[str, tuple[float, Make]] = {
    "accuracy 0.5": (0.5, share(0.5, mean_interval)),
    "accuracy 0.8": (0.8, share(0.8, mean_interval)),
    "accuracy 0.95": (0.95, share(0.95, mean_interval)),
    "accuracy 0.95, bootstrap": (0.95, share(0.95, bootstrap_mean)),
    "mean of beta(2, 2)": (0.5, beta(2, 2)),
    "mean of beta(5, 1)": (5 / 6, beta(5, 1)),
    "mean of beta(0.5, 0.5)": (0.5, beta(0.5, 0.5)),
    "paired difference -0.1": (-0.1, paired(bootstrap_difference)),
    "ratio 8/9": (8 / 9, paired(bootstrap_ratio)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    for name, (truth, make) in CASES.items():
        for rows in options.rows:
            generator = np.random.default_rng(0)
            found = [make(generator, rows, seed) for seed in range(options.runs)]
            covered = np.mean([one.low <= truth <= one.high for one in found])
            print(f"{rows:5d} rows  {name:26s} {covered:.3f}", flush=True)


if __name__ == "__main__":
    main()
