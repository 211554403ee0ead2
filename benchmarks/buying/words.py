"""The choice alone: banking77 with a bag-of-words classifier in the student's place.

    python benchmarks/buying/words.py --out FILE.jsonl [--data DIR]

Logistic regression on TF-IDF is trained in a second, so many seeds can be had; it is no language
model, and its doubt is 1 - the probability of its label. Else all is as in `measure.py`, and
`summary.py` reads the file. The set's own labels are the teacher's answers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import CANDIDATES, WAYS
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from mwalimu.buying.choice import at_random
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.preparation.words import turns

SIZES = (500, 1000, 1500, 2000, 3000, 4000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["random", "doubt"])
    given = parser.parse_args()
    folder = given.data / "banking77"
    if not (folder / "train.jsonl").is_file():
        print(f"{folder} is missing: name the folder of the data sets with --data", file=sys.stderr)
        return 1
    pool, test = (
        load_records(folder / f"{split}.jsonl", task="classification", split=split)
        for split in ("train", "test")
    )
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit([turns(row) for row in pool])
    vectors = [words.transform([turns(row) for row in rows]) for rows in (pool, test)]
    labels = [np.array([row.reference for row in rows]) for rows in (pool, test)]
    with given.out.open("w") as out:
        for seed in range(given.seeds):
            for way in given.ways:
                for line in arm(way, seed, pool, vectors, labels):
                    out.write(json.dumps(line) + "\n")
                    out.flush()
    return 0


def arm(
    way: str, seed: int, pool: list[Record], vectors: list[Any], labels: list[Any]
) -> Iterator[dict[str, Any]]:
    """The rounds of one way, a line each; `vectors` and `labels` are of pool and test rows."""
    bought = at_random(len(pool), SIZES[0], seed=seed)
    for size, following in zip(SIZES, (*SIZES[1:], 0), strict=True):
        student = LogisticRegression(C=10, max_iter=30)
        student.fit(vectors[0][bought], labels[0][bought])
        right = (student.predict(vectors[1]) == labels[1]).astype(float)
        print(f"{way} {seed}: {size} rows, {right.mean():.3f}", flush=True)
        yield {"way": way, "seed": seed, "rows": size, "scores": right.tolist()}
        if following:
            left = np.setdiff1d(np.arange(len(pool)), bought)
            left = left[at_random(len(left), CANDIDATES, seed=seed + 1000 * size)]
            doubts = 1 - student.predict_proba(vectors[0][left]).max(axis=1)
            rows, choose = [pool[number] for number in left], WAYS[way]
            places = list(range(following - size))
            if choose is not None:
                places = choose(rows, doubts, following - size, seed + 1000 * size)
            bought += [int(left[place]) for place in places]


if __name__ == "__main__":
    sys.exit(main())
