"""How good a student each kind of teacher signal makes: same prompts, steps and seeds for all.

    python benchmarks/distill/quality.py --data FOLDER --out FOLDER [--sets banking77,...]

`--data` holds a folder a set. Every run is a JSON file under `--out`; killed and run again, it goes
on with those that are missing. Several may work on one `--out` at once, each with seeds of its own
(`--first-seed`). At the end, or with `--summary` alone, all that is there becomes a table,
results.json and two plots a set.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quality_runs import Arm, Lesson, prepare, run_one, teacher_result
from quality_sets import SETS, Workload
from quality_summary import summarise

from mwalimu.files import write_json

ARMS = "gold,text,sampled-12,topk-32,dense"
SIZES = "sampled-1,sampled-3,sampled-6,sampled-25,sampled-50,topk-1,topk-4,topk-8,topk-16"
SIZES_AT, SIZES_SEEDS = 1_000, 3
"""Prompts and seeds of the arms that differ only in how much they keep a token."""


def main() -> int:
    import torch

    arguments = parse()
    torch.set_num_threads(arguments.threads)
    for name in arguments.sets.split(","):
        out = arguments.out / name
        if not arguments.summary:
            work(name, out, arguments)
        if any(out.glob("runs/*.json")):
            print(summarise(out))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--prompts", default="250,500,1000,2000,4000,9000")
    parser.add_argument("--arms", help=f"{ARMS}, and {SIZES} at {SIZES_AT} prompts, if left out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--teacher", type=Path, help="of the one set that runs; made before")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", action="store_true", help="of what is there; runs nothing")
    return parser.parse_args()


def work(name: str, out: Path, arguments: argparse.Namespace) -> None:
    """All runs of a set that have no result yet."""
    out.mkdir(parents=True, exist_ok=True)
    with alone(arguments.out):
        load = SETS[name](arguments.data, arguments.out, arguments.teacher, report)
        teacher_result(load, out / "teacher.json")
    lessons: dict[str, Lesson] = {}
    for arm, prompts, seed in plan(arguments, len(load.train)):
        path = out / "runs" / f"{prompts}-{arm.name}-{seed}.json"
        if path.is_file():
            continue
        if arm.name not in lessons:
            with alone(arguments.out):
                lessons[arm.name] = prepare(load, arm, out, report)
        found = run_one(load, arm, lessons[arm.name], prompts, seed, scratch(path), report)
        write_json(path, found)
        say(load, path, found)


def plan(arguments: argparse.Namespace, rows: int) -> Iterator[tuple[Arm, int, int]]:
    """A seed at a time, so that what is there at any moment is balanced."""
    first = arguments.first_seed
    numbers = [int(number) for number in arguments.prompts.split(",")]
    counts = list(dict.fromkeys(min(number, rows) for number in numbers))
    for seed in range(first, first + arguments.seeds):
        for prompts in counts:
            for arm in (arguments.arms or ARMS).split(","):
                yield Arm(arm), prompts, seed
    if arguments.arms is None:
        for seed in range(first, min(first + arguments.seeds, SIZES_SEEDS)):
            for arm in SIZES.split(","):
                yield Arm(arm), SIZES_AT, seed


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """What runs share is made by one process; the others wait."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def scratch(path: Path) -> Path:
    return path.parent.parent / "students" / path.stem


_last = 0.0


def report(stage: str, done: int, total: int, note: str) -> None:
    global _last
    if time.monotonic() - _last > 60:
        _last = time.monotonic()
        print(f"  {stage} {done}/{total} {note}", file=sys.stderr, flush=True)


def say(load: Workload, path: Path, found: dict[str, Any]) -> None:
    score = sum(found["scores"]) / len(found["scores"])
    line = {"run": f"{load.name}/{path.stem}", "score": round(score, 4)}
    line |= {name: found[name] for name in ("steps", "train_loss", "cpu_seconds")}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
