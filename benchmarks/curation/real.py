"""What the checks find in real data sets: python benchmarks/curation/real.py [--data DIR].

For each set the training rows that equal or overlap with its own test rows, and those that nearly
repeat an earlier training row, at three thresholds.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np

from mwalimu.data.dataset import open_dataset
from mwalimu.preparation.contamination import match, own_rows
from mwalimu.preparation.near_duplicates import first_near, signatures
from mwalimu.preparation.words import setting, turns

THRESHOLDS = (0.5, 0.7, 0.9)


def measure(folder: Path) -> str:
    train, test = (
        open_dataset(folder / f"{split}.jsonl", task="generic", split=split)
        for split in ("train", "test")
    )
    began = time.perf_counter()
    held_out = [own_rows(test)]
    found = [match(record, held_out, overlaps=True) for record in train]
    kinds = Counter(one.kind for one in found if one)
    middle = time.perf_counter()
    signed = np.concatenate(list(signatures(turns(record) for record in train)))
    settings = np.array([setting(record) for record in train], np.uint64)
    near = [int((first_near(signed, settings, one) >= 0).sum()) for one in THRESHOLDS]
    ended = time.perf_counter()
    speeds = f"{len(train) / (middle - began):,.0f} | {len(train) / (ended - middle):,.0f}"
    counts = " | ".join(map(str, (kinds["equal"], kinds["overlap"], *near)))
    return f"| {folder.name} | {len(train):,} | {counts} | {speeds} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    folders = sorted(path.parent for path in data.glob("*/test.jsonl"))
    if not folders:
        print(f"{data} holds no data sets: name their folder with --data")
        return
    near = " | ".join(f"near at {one}" for one in THRESHOLDS)
    print(f"| set | train rows | equal | overlap | {near} | rows/s held out | rows/s near |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for folder in folders:
        print(measure(folder), flush=True)


if __name__ == "__main__":
    main()
