"""Teacher calls for the same quality: the rows that the student doubts, beside rows at random.

    python benchmarks/buying/measure.py --out FOLDER [--world quickstart | banking77] [--data DIR]

Each way begins with the same random rows, and after each round the student is trained anew, from
its start, on all that was bought, and graded on the test rows. One line a round goes to
FOLDER/<world>.jsonl, which `summary.py` reads; run again, it goes on with the rounds that lack.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from worlds import World, banking77, quickstart, taught

from mwalimu.buying.choice import POWER, at_random, by_doubt, drawn
from mwalimu.buying.looking import Floats, Look
from mwalimu.data.record import Record

SIZES = {
    "quickstart": (400, 800, 1200, 1600, 2400),
    "banking77": (500, 1000, 1500, 2000, 3000),
}
CANDIDATES = 4000  # unbought rows that the student looks at, drawn at random each round

Chooser = Callable[[list[Record], Floats, int, int], list[int]]
WAYS: dict[str, Chooser | None] = {
    "random": None,
    "doubt": lambda rows, doubts, count, seed: by_doubt(rows, doubts, count, seed=seed),
    "in proportion": lambda _, doubts, count, seed: drawn(doubts ** (1 / POWER), seed=seed)[:count],
    "most doubted": lambda rows, doubts, count, _: np.argsort(-doubts)[:count].tolist(),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--world", choices=SIZES, default="quickstart")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["random", "doubt"])
    parser.add_argument("--sizes", type=int, nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = tuple(given.sizes or SIZES[given.world])
    folder = given.out / given.world
    if given.world == "quickstart":
        world = quickstart(folder, sizes)
    elif not (data := given.data / "banking77" / "train.jsonl").is_file():
        print(f"{data} is missing: name the folder of the data sets with --data", file=sys.stderr)
        return 1
    else:
        world = banking77(folder, sizes, data.parent)
    results = given.out / f"{given.world}.jsonl"
    for seed in given.seeds:
        for way in given.ways:
            arm(world, way, seed, folder / "student", results)
    return 0


def arm(world: World, way: str, seed: int, folder: Path, results: Path) -> None:
    """The rounds of one way that have no line yet; a line holds what the next round buys."""
    known = [json.loads(line) for line in results.open()] if results.exists() else []
    done = [one for one in known if (one["way"], one["seed"]) == (way, seed)]
    bought = done[-1]["next"] if done else at_random(len(world.pool), world.sizes[0], seed=seed)
    for size, following in zip(world.sizes, (*world.sizes[1:], 0), strict=True):
        if size < len(bought) or not bought:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        look = Look.of(taught(world, bought, folder, seed), world.config)
        scores = look.scores(world.test, lambda *_: None)
        print(f"{world.name} {way} {seed}: {len(bought)} rows, {np.mean(scores):.3f}", flush=True)
        line = {"way": way, "seed": seed, "rows": size, "scores": scores, "next": []}
        if following:
            more = chosen(world, way, look, bought, following - size, seed + 1000 * size)
            line["next"] = bought = [*bought, *more]
        with results.open("a") as handle:
            handle.write(json.dumps(line) + "\n")


def chosen(
    world: World, way: str, look: Look, bought: list[int], count: int, seed: int
) -> list[int]:
    """Of CANDIDATES random rows that are not bought, those that the way picks."""
    left = np.setdiff1d(np.arange(len(world.pool)), bought)
    left = left[at_random(len(left), CANDIDATES, seed=seed)]
    choose = WAYS[way]
    if choose is None:
        return [int(number) for number in left[:count]]
    rows = [world.pool[number] for number in left]
    places = choose(rows, look.doubts(rows, lambda *_: None), count, seed)
    return [int(left[place]) for place in places]


if __name__ == "__main__":
    sys.exit(main())
