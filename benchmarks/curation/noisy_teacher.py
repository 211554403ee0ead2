"""What curation is worth to a student whose teacher is wrong in one row of five.

    python benchmarks/curation/noisy_teacher.py

The quickstart's world, student and graders. Its gold answers stand for a good teacher; a share of
them is spoilt, seeded by row: wrong and invalid labels, wrong and absent numbers, cut texts,
refusals, leaked thoughts, marks of templates. The same student with the same seeds learns from

    raw       all rows as they came
    curated   what `curate.checks: auto` leaves of them
    gold      the same, where the rows carry gold answers that the teacher is checked against
    clean     all rows, unspoilt: what could be reached

in as many steps, but for whole epochs, and all answer the same held-out rows. Tests are paired over
the held-out rows, each row's score being the mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mwalimu.config import build_config
from mwalimu.curation.curate import curate
from mwalimu.data.grading import NLI_LABELS, grade
from mwalimu.data.record import Message, Record
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.statistics import bootstrap_difference, permutation_test
from mwalimu.finetune.finetune import train_student
from mwalimu.quickstart.job import job_config
from mwalimu.quickstart.rows import generate_rows
from mwalimu.run import Run

ARMS = ("raw", "curated", "gold", "clean")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--visits", type=int, default=11000, help="rows times epochs, for each arm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.2, help="share of spoilt rows")
    arguments = parser.parse_args()
    test = generate_rows("test", arguments.test)
    scores: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    for seed in range(arguments.seeds):
        rows = generate_rows("train", arguments.rows, seed)
        spoilt, kinds = spoil(rows, arguments.noise, seed)
        print(f"seed {seed}: spoilt {sum(kinds.values())} of {len(rows)}: {dict(kinds)}")
        with tempfile.TemporaryDirectory() as folder:
            for arm in ARMS:
                started = time.monotonic()
                learned = taught(arm, rows, spoilt, Path(folder) / arm)
                found = student_scores(learned, test, arguments.visits, seed, Path(folder) / arm)
                scores[arm].append(found)
                seconds = time.monotonic() - started
                facts = f"{len(learned)} rows, accuracy {_mean(found):.3f}, {seconds:.0f} s"
                print(f"  {arm:<8} {facts}", flush=True)
    report(scores)


def spoil(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], Counter[str]]:
    """The rows with about `share` of the answers spoilt, and how many by kind."""
    rng = random.Random(f"noise {seed}")
    spoilt, kinds = [], Counter[str]()
    for row in rows:
        if rng.random() >= share:
            spoilt.append(row)
            continue
        answer = row["messages"][-1]["content"]
        kind = rng.choice([*FAULTS, *OF_TASK.get(row["task"], ())])
        text = (FAULTS | OF_TASK.get(row["task"], {}))[kind](rng, answer)
        kinds[kind] += 1
        spoilt.append(_answered(row, text))
    return spoilt, kinds


Fault = Callable[[random.Random, str], str]
FAULTS: dict[str, Fault] = {
    "refusal": lambda rng, answer: "I'm sorry, but I can't help with that.",
    "thought": lambda rng, answer: f"<think>It says so.</think>{answer}",
    "mark": lambda rng, answer: f"{answer}<|im_end|>",
}
OF_TASK: dict[str, dict[str, Fault]] = {
    "nli": {
        "wrong label": lambda rng, answer: rng.choice([x for x in NLI_LABELS if x != answer]),
        "no label": lambda rng, answer: rng.choice(("yes", "no", "maybe")),
    },
    "math": {
        "wrong number": lambda rng, answer: f"It is {rng.randint(1, 99)}.",
        "no number": lambda rng, answer: "It is a lot.",
    },
    "conversation": {"cut": lambda rng, answer: answer[: rng.randint(5, len(answer) - 3)]},
    "summarization": {"cut": lambda rng, answer: answer[: rng.randint(5, len(answer) - 3)]},
}


def taught(arm: str, rows: list[Row], spoilt: list[Row], folder: Path) -> list[Row]:
    """The rows that the arm's student learns."""
    if arm in ("raw", "clean"):
        return spoilt if arm == "raw" else rows
    if arm == "gold":
        gold = [row["messages"][-1]["content"] for row in rows]
        spoilt = [row | {"reference": text} for row, text in zip(spoilt, gold, strict=True)]
    run = Run(folder / "run")
    path = run.path("generate", "train.jsonl")
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in spoilt), encoding="utf-8")
    run.finish("generate", "", [path], {"outcomes": {"ok": len(spoilt)}})
    config = build_config(job_config(0), base=folder)
    curate(config, run, gold=(), ask=None, stage_fingerprint="", on_progress=lambda *_: None)
    lines = run.learned()["train"].read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def student_scores(
    rows: list[Row], test: list[Row], visits: int, seed: int, folder: Path
) -> list[float]:
    """One score a test row, of the student that learned `rows`."""
    raw = job_config(seed)
    raw["finetune"] |= {"epochs": round(visits / len(rows))}
    config = build_config(raw, base=folder)
    train_student(
        config.student,
        config.finetune,
        rows,
        None,
        folder,
        seed=seed,
        stage_fingerprint="",
        on_progress=lambda *_: None,
    )
    answerer = load_answerer(folder / "student", max_tokens=64, trust_remote_code=False)
    records = [_record(row) for row in test]
    answers = answerer.answer_all(answerer.encode(records), batch_size=128, on_batch=lambda _: None)
    return [
        grade(record.task, answer.text, record.reference or "")
        for record, answer in zip(records, answers, strict=True)
    ]


def report(scores: dict[str, list[list[float]]]) -> None:
    means = {
        arm: [sum(row) / len(row) for row in zip(*s, strict=True)] for arm, s in scores.items()
    }
    for arm in ARMS:
        each = ", ".join(f"{_mean(found):.3f}" for found in scores[arm])
        print(f"{arm:<8} accuracy {_mean(means[arm]):.3f} (seeds: {each})")
    for arm in ("curated", "gold", "clean"):
        gain = bootstrap_difference(means[arm], means["raw"], draws=2000, seed=0)
        p = permutation_test(means[arm], means["raw"], seed=0)
        print(f"{arm} - raw: {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p = {p:.4f}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _record(row: Row) -> Record:
    *before, answer = row["messages"]
    messages = tuple(Message(turn["role"], turn["content"]) for turn in before)
    return Record(row["id"], row["task"], messages, answer["content"])


def _answered(row: Row, text: str) -> Row:
    return row | {"messages": [*row["messages"][:-1], {"role": "assistant", "content": text}]}


if __name__ == "__main__":
    main()
