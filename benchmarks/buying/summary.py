"""What `measure.py` found: quality by rows bought, and the calls for the quality that chance has.

    python benchmarks/buying/summary.py FOLDER/quickstart.jsonl

The ratio is of the rows that a way needs for the quality of random rows at --at of them, both read
off the mean curve over seeds, linear between its points and never falling. Its 95 % interval draws
seeds and test rows anew.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
Scores = NDArray[np.float64]
"""(seeds, sizes, test rows)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--at", type=int, nargs="+", help="[default: the third size and later]")
    given = parser.parse_args()
    sizes, ways = read(given.results)
    print("| rows | " + " | ".join(ways) + " |")
    print("|--:|" + "--:|" * len(ways))
    for place, size in enumerate(sizes):
        cells = [f"{100 * found[:, place].mean():.1f} %" for found in ways.values()]
        print(f"| {size:,} | " + " | ".join(cells) + " |")
    seeds = {way: len(found) for way, found in ways.items()}
    print(f"trainings of each point: {seeds}; {ways['random'].shape[2]} test rows")
    for way in (name for name in ways if name != "random"):
        for at in given.at or sizes[2:]:
            print(f"{way}, as good as {at:,} random rows: {in_words(sizes, ways, way, at)}")


def read(path: Path) -> tuple[list[int], dict[str, Scores]]:
    """The sizes that every arm has, and the scores of each way."""
    found: dict[str, dict[int, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for line in path.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        found[one["way"]][one["seed"]][one["rows"]] = one["scores"]
    arms = [by_size for seeds in found.values() for by_size in seeds.values()]
    sizes = sorted(set.intersection(*(set(by_size) for by_size in arms)))
    ways = {
        way: np.array([[by_size[size] for size in sizes] for by_size in seeds.values()])
        for way, seeds in found.items()
    }
    return sizes, ways


def in_words(sizes: list[int], ways: dict[str, Scores], way: str, at: int) -> str:
    random = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        rows = random.integers(0, ways[way].shape[2], ways[way].shape[2])
        curves = []
        for scores in (ways["random"], ways[way]):
            seeds = random.integers(0, len(scores), len(scores))
            curves.append(scores[seeds][:, :, rows].mean(axis=(0, 2)))
        draws.append(ratio(sizes, *curves, at))
    low, high = np.percentile(draws, [2.5, 97.5])
    own = ratio(sizes, *(ways[name].mean(axis=(0, 2)) for name in ("random", way)), at)
    return f"{100 * own:.0f} % of the calls [{100 * low:.0f}, {100 * high:.0f}]"


def ratio(sizes: list[int], by_chance: Scores, by_way: Scores, at: int) -> float:
    """Rows for the quality of `at` random rows, over `at`; at most what was measured."""
    wanted = np.interp(at, sizes, np.maximum.accumulate(by_chance))
    rising = np.maximum.accumulate(by_way)
    if rising[-1] < wanted:
        return sizes[-1] / at
    place = int(np.argmax(rising >= wanted))
    if place == 0:
        return sizes[0] / at
    before, after = rising[place - 1], rising[place]
    share = (wanted - before) / (after - before)
    return float(sizes[place - 1] + share * (sizes[place] - sizes[place - 1])) / at


if __name__ == "__main__":
    main()
