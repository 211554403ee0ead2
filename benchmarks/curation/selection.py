"""How many labels k chosen prompts hold: coverage beside chance.

    python benchmarks/curation/selection.py [--data DIR] [--set banking77]

Labels are not seen by the choice. Chance is the mean, least and most of --draws draws.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mwalimu.data.dataset import load_records
from mwalimu.preparation.selection import at_random, coverage
from mwalimu.preparation.vectors import embed
from mwalimu.preparation.words import turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--set", default="banking77")
    parser.add_argument("--rows", type=int, nargs="+", default=[80, 160, 320])
    parser.add_argument("--draws", type=int, default=20)
    given = parser.parse_args()
    path = given.data / given.set / "train.jsonl"
    if not path.is_file():
        print(f"{path} is missing: name the folder of the data sets with --data")
        return
    records = load_records(path, task="classification", split="train")
    labels = [record.reference for record in records]
    vectors = embed([turns(record) for record in records], seed=0).vectors
    print(f"{len(records):,} rows, {len(set(labels))} labels")
    print("| k | coverage | chance (least to most) | seconds |")
    print("|--:|--:|--:|--:|")
    for k in given.rows:
        began = time.perf_counter()
        ours = [len({labels[n] for n in coverage(vectors, k, seed=s)}) for s in range(3)]
        seconds = (time.perf_counter() - began) / len(ours)
        draws = [at_random(len(records), k, seed=seed) for seed in range(given.draws)]
        chance = [len({labels[number] for number in drawn}) for drawn in draws]
        mean = f"{sum(chance) / len(chance):.1f} ({min(chance)} to {max(chance)})"
        print(f"| {k} | {sum(ours) / len(ours):.1f} | {mean} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
