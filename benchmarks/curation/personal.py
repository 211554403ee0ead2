"""What the search for personal data finds in public sets, which hold next to none, and its speed.

python benchmarks/curation/personal.py [--data DIR] [--show 5]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from mwalimu.data.dataset import load_records
from mwalimu.data.privacy import find
from mwalimu.preparation.words import turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--show", type=int, default=0, help="pieces of every set to print")
    given = parser.parse_args()
    paths = sorted(given.data.glob("*/train.jsonl"))
    if not paths:
        print(f"{given.data} holds no data sets: name their folder with --data")
        return
    print("| set | rows | rows with something | by kind | rows/s |")
    print("|---|--:|--:|---|--:|")
    for path in paths:
        texts = [turns(record) for record in load_records(path, task="generic", split="train")]
        began = time.perf_counter()
        found = [(text, pieces) for text in texts if (pieces := find(text))]
        speed = len(texts) / (time.perf_counter() - began)
        kinds = Counter(piece.kind for _, pieces in found for piece in pieces)
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common()) or "none"
        line = f"| {path.parent.name} | {len(texts):,} | {len(found)} | {told} | {speed:,.0f} |"
        print(line, flush=True)
        for text, pieces in found[: given.show]:
            print(f"    {[text[piece.start : piece.end] for piece in pieces]}")


if __name__ == "__main__":
    main()
