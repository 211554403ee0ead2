"""Gold answers that the checks would reject, and cut answers that they find.

    python benchmarks/curation/false_alarms.py --data ../shared/data

Every row of every set stands for an accepted row whose answer is right. Each check is asked alone,
so a row may count under several. Labels are those of the training rows. Then labels that are taken
from few gold rows, as `checks: auto` takes them, and answers that are cut at a random place.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mwalimu.config import CheckName, Config, build_config
from mwalimu.curation.checks.label import Seen, closed, count_labels, label
from mwalimu.curation.checks.truncation import truncation
from mwalimu.curation.plan import ALWAYS, build_passes
from mwalimu.curation.row import Row, read_rows
from mwalimu.data.grading import normal_label

CHECKS: tuple[CheckName, ...] = (*sorted(ALWAYS - {"reference"}), "language")
SPLITS = ("train", "validation", "test")
MIN_SENTENCES = (0, 1, 2)
GOLD_ROWS = (100, 300, 1000, 3000)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = sorted(path.parent for path in arguments.data.glob("*/train.jsonl"))
    if not sets:
        sys.exit(f"{arguments.data}: no folder with a train.jsonl; name one with --data")
    print("false alarms on gold answers: rows (share)")
    print(f"{'set':<12}{'rows':>8}", *(f"{name:>16}" for name in CHECKS), f"{'rejected':>16}")
    seconds: dict[str, float] = dict.fromkeys(CHECKS, 0.0)
    total = 0
    for folder in sets:
        total += _false_alarms(folder, seconds)
    print("microseconds a row:", ", ".join(f"{n} {seconds[n] / total * 1e6:.0f}" for n in CHECKS))
    print("\nlabels from few gold rows, by auto: is the check on, and right answers rejected")
    for folder in sets:
        _few_labels(folder, arguments.seed)
    print("\nanswers cut at a random place that truncation finds, and whole ones that it rejects")
    for folder in sets:
        _cuts(folder, arguments.seed)


def rows_of(folder: Path) -> Iterator[Row]:
    for split in SPLITS:
        if (path := folder / f"{split}.jsonl").is_file():
            yield from read_rows(path)


def _config(task: str, check: CheckName) -> Config:
    raw = {
        "task": task,
        "data": {"train": "unused"},
        "teacher": {"model": "fake"},
        "student": {"model": "unused"},
        "curate": {"checks": [check], "language": {"expected": ["en"]}},
    }
    return build_config(raw, base=Path())


def _false_alarms(folder: Path, seconds: dict[str, float]) -> int:
    """One line of the table; returns the number of rows."""
    rows = list(rows_of(folder))
    task = str(rows[0].content["task"])
    trained = read_rows(folder / "train.jsonl")
    gold = [Seen(task, gold=answer.text) for row in trained for answer in row.answers]
    rejected: set[str] = set()
    cells = []
    for check in CHECKS:
        started = time.perf_counter()
        ((_, one),) = build_passes(_config(task, check), gold, None)
        found = {row.id for row, verdict in one(rows) if not verdict.keep}
        seconds[check] += time.perf_counter() - started
        rejected |= found
        cells.append(_share(len(found), len(rows)))
    cells.append(_share(len(rejected), len(rows)))
    print(f"{folder.name:<12}{len(rows):>8}", *(f"{cell:>16}" for cell in cells))
    return len(rows)


def _few_labels(folder: Path, seed: int) -> None:
    """From rows drawn at random, and from the first ones of the file."""
    rows = [answer for row in rows_of(folder) for answer in row.answers]
    if rows[0].task != "classification":
        return
    answered = [Seen(answer.task, answer=answer.text) for answer in rows]
    mixed = random.Random(seed).sample(rows, len(rows))
    for source, name in ((mixed, "random"), (rows, "first")):
        for count in GOLD_ROWS:
            gold = [Seen(answer.task, gold=answer.text) for answer in source[:count]]
            on = closed(*count_labels([*gold, *answered], "classification"))
            known = {"classification": {normal_label(one.gold or "") for one in gold}}
            wrong = sum(not label(answer, known).keep for answer in rows) if on else 0
            state = f"{'on' if on else 'off'}, {_share(wrong, len(rows))} rejected"
            print(f"{folder.name:<12} {count:>6} {name} gold rows: {state}")


def _cuts(folder: Path, seed: int) -> None:
    """Answers of more than 40 characters, cut behind the 20th and before the last three."""
    rng = random.Random(seed)
    answers = [a for row in rows_of(folder) for a in row.answers if len(a.text) > 40]
    cut = [replace(a, text=a.text[: rng.randrange(20, len(a.text) - 3)]) for a in answers]
    for count in MIN_SENTENCES:
        hits = sum(not truncation(answer, count).keep for answer in cut)
        wrong = sum(not truncation(answer, count).keep for answer in answers)
        shares = f"{_share(hits, len(cut))} found, {_share(wrong, len(answers))} wronged"
        print(f"{folder.name:<12} min_sentences {count}: {shares} of {len(answers)}")


def _share(count: int, of: int) -> str:
    return f"{count} ({count / max(1, of):.3%})"


if __name__ == "__main__":
    main()
