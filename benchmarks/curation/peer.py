"""The same work as a script of `datasets` and `datasketch`, the usual way: 128 permutations, word
pairs, threshold 0.5. For a Python with both of them; imports nothing of mwalimu.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from datasets import load_dataset
from datasketch import MinHash, MinHashLSH

WORD = re.compile(r"\w+")
GRAM = 13


def words_of(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def grams_of(words: list[str]) -> set[str]:
    return {" ".join(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)}


def main(folder: Path, cache: str) -> None:
    test = load_dataset(
        "json", data_files=str(folder / "test.jsonl"), split="train", cache_dir=cache
    )
    train = load_dataset(
        "json", data_files=str(folder / "train.jsonl"), split="train", cache_dir=cache
    )
    held_out, grams = set(), set()
    for row in test:
        words = words_of(row["prompt"])
        held_out.add(" ".join(words))
        grams |= grams_of(words)
    lsh = MinHashLSH(threshold=0.5, num_perm=128)
    seen: set[str] = set()
    removed = {"contamination": 0, "overlap": 0, "near duplicate": 0}
    with open(Path(cache) / "kept.jsonl", "w", encoding="utf-8") as handle:
        for number, row in enumerate(train):
            words = words_of(row["prompt"])
            text = " ".join(words)
            if text in held_out:
                removed["contamination"] += 1
                continue
            if not grams.isdisjoint(grams_of(words)):
                removed["overlap"] += 1
                continue
            sketch = MinHash(num_perm=128)
            sketch.update_batch([" ".join(pair).encode() for pair in pairwise(words)])
            if text in seen or lsh.query(sketch):
                removed["near duplicate"] += 1
                continue
            seen.add(text)
            lsh.insert(str(number), sketch, check_duplication=False)
            handle.write(json.dumps(row) + "\n")
    out = len(train) - sum(removed.values())
    print(json.dumps({"in": len(train), "out": out, "removed": removed}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1]), scratch)
