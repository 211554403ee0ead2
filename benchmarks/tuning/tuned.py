"""Tuned against the recipe as written, and models against random search, at an equal budget.

    python benchmarks/tuning/tuned.py --out FOLDER [--tasks summarization nli] [--trials 10]
        [--repeats 5] [--samplers tpe gp random] [--plan]
        [--banking77 FOLDER --teacher FOLDER --student FOLDER]

Each repetition is a search with a seed of its own, by each of --samplers, over the same space
with as many trials; the first trial of each is the recipe as written. The written recipe is the
quickstart's, whose values were chosen by hand. Epochs are not searched: a better recipe is not one
that trains for longer. Trials run in this process, one after another, without pruning, so that a
budget in trials is a budget in epochs as well. A recipe that another search of the task has tried
is not trained again: the student would be the same, byte for byte.

Tasks of the quickstart's world need nothing but this repository. `--banking77` is a folder of
train.jsonl, validation.jsonl and test.jsonl; `--teacher` and `--student` are those that
benchmarks/banking77.py made.

That one command does all repetitions. Run again after Ctrl-C or a kill, it goes on where it
stopped: searches, trials and trainings are resumed, and what was measured is read. `--plan` trains
the first trial of each task, which the searches then take over, and says how many CPU hours are
left by it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from statistics import mean, median
from typing import Any, cast

from mwalimu.config import Config, build_config
from mwalimu.errors import MwalimuError
from mwalimu.evaluation.statistics import compared, permutation_test, spread
from mwalimu.pipeline import Pipeline
from mwalimu.quickstart.job import FINETUNE, settings, write_jsonl
from mwalimu.quickstart.rows import generate_rows
from mwalimu.quickstart.world import Split
from mwalimu.run import fingerprint
from mwalimu.shipping.telling import told
from mwalimu.tuning.conclusion import Conclusion
from mwalimu.tuning.launching import Event, Launch
from mwalimu.tuning.trial import Order, run_trial
from mwalimu.tuning.tune import tune

WORLD_TASKS = 5
WARM_UP = 5
COSTS = "costs.jsonl"
SPACE: dict[str, Any] = {
    "finetune.learning_rate": {"low": 3e-4, "high": 2e-2, "log": True},
    "finetune.batch_size": [8, 16, 32],
    "finetune.weight_decay": {"low": 0.0, "high": 0.4},
    "finetune.warmup_ratio": {"low": 0.0, "high": 0.2},
    "finetune.max_grad_norm": {"low": 0.1, "high": 2.0, "log": True},
    "finetune.objective": {
        "divergences": ["forward_kl", "reverse_kl", "jsd"],
        "temperatures": [1.0, 2.0],
        "text": [0.0, 0.5, 1.0],
    },
}


class Done:
    def stop(self) -> None:
        """It has ended when it is told of."""


def here(order: Order, heard: Callable[[Event], None]) -> Done:
    """Students are kept beside the searches, by recipe."""
    folder = Path(order.folder)
    task = folder.parents[3]
    known = task / "recipes" / key_of(order)
    if known.exists() and not folder.exists():
        copied(known, folder)
    began = time.process_time()
    try:
        run_trial(order, heard)
    except MwalimuError as error:
        heard({"failed": told(error)})
    if not known.exists():
        copied(folder, known)
        with open(task / COSTS, "a", encoding="utf-8") as lines:
            cost = {"recipe": known.name, "cpu_seconds": time.process_time() - began}
            lines.write(json.dumps(cost) + "\n")
    heard({"ended": {"code": 0, "said": ""}})
    return Done()


def copied(source: Path, target: Path) -> None:
    """Whole or not at all."""
    beside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    os.replace(beside, target)


class OneTrial(Exception):
    """Enough for a plan."""


def one_trial(order: Order, heard: Callable[[Event], None]) -> Done:
    if Path(order.folder).name != "0000":
        raise OneTrial
    return here(order, heard)


def hours_left(folder: Path, repeats: int, trials: int, samplers: int) -> str:
    """From what the trainings so far cost: the median, for one that was resumed looks cheap.

    Draws before WARM_UP trials are the same under all samplers, and so are their students.
    """
    lines = (folder / COSTS).read_text(encoding="utf-8").splitlines()
    costs = [json.loads(line)["cpu_seconds"] for line in lines]
    alike = min(WARM_UP, trials) - 1
    all_of = 1 + repeats * (alike + samplers * (trials - 1 - alike))
    left = max(0, all_of - len(costs)) * median(costs) / 3600
    return (
        f"{folder.name}: {len(costs)} of about {all_of} trainings are done, each takes "
        f"{median(costs):.0f} CPU s; about {left:.1f} CPU hours are left, and the test rows' looks"
    )


def key_of(order: Order) -> str:
    return fingerprint({key: value for key, value in order.config.items() if key != "tune"})[:16]


def world_job(folder: Path, task: str, rows: dict[str, int], epochs: int) -> dict[str, Any]:
    """One task of the quickstart's world, with the models that ship; validation rows have gold."""
    for split, count in rows.items():
        made = generate_rows(cast(Split, split), count * WORLD_TASKS)
        found = [row for row in made if row["task"] == task]
        if split == "train":
            found = [row | {"messages": row["messages"][:-1]} for row in found]
        write_jsonl(folder / f"{split}.jsonl", found)
    shipped, job = files("mwalimu.quickstart"), settings(0)
    return job | {
        "data": {split: f"{split}.jsonl" for split in rows},
        "teacher": {"model": str(shipped / "teacher"), **job["teacher"]},
        "student": {"model": str(shipped / "student"), **job["student"]},
        "finetune": FINETUNE | {"epochs": epochs, "patience": epochs},
    }


def banking_job(data: Path, teacher: Path, student: Path, epochs: int) -> dict[str, Any]:
    return {
        "task": "classification",
        "data": {name: str(data / f"{name}.jsonl") for name in ("train", "validation", "test")}
        | {"contamination": "allow"},
        "teacher": {"model": str(teacher), "max_tokens": 24, "batch_size": 64},
        "student": {"model": str(student), "method": "full", "max_length": 192},
        "generate": {"min_ok": 0.5},
        "prepare": {"overlap": "off"},
        "finetune": FINETUNE | {"learning_rate": 4e-3, "epochs": epochs, "patience": epochs},
        "evaluate": {"max_tokens": 24, "batch_size": 64},
    }


def searched(
    raw: dict[str, Any],
    folder: Path,
    sampler: str,
    seed: int,
    trials: int,
    launch: Launch = here,
) -> Conclusion:
    search = {
        "space": SPACE,
        "warm_up": WARM_UP,
        "sampler": sampler,
        "seed": seed,
        "pruner": "none",
        "budget": f"{trials}trials",
    }
    config: Config = build_config(raw | {"tune": search}, base=folder)
    root = folder / f"{sampler}-{seed}"

    def say(stage: str, _done: int, total: int, note: str) -> None:
        if stage == "tune" and not total:
            print(f"{root.name}: {note}", file=sys.stderr, flush=True)

    return tune(Pipeline(config, root, store=folder / "answers", progress=say), launch=launch)


def row_of(found: Conclusion) -> dict[str, Any]:
    """Best so far on validation after each trial, and what the test rows say of the choice."""
    values = [trial.values[0] if trial.values else 0.0 for trial in found.trials]
    assert found.on_test is not None and found.corrected is not None
    return {
        "best_so_far": [max(values[: n + 1]) for n in range(len(values))],
        "written": values[0],
        "chosen": max(values),
        "corrected": found.corrected.mean,
        "test": found.on_test.chosen.mean,
        "test_written": found.on_test.written.mean,
        "p_value": found.on_test.p_value,
    }


def summary(found: dict[str, list[dict[str, Any]]], folder: Path) -> dict[str, Any]:
    """Of each sampler: what it chose less what was written on the test rows, and against random."""
    drawn = found.get("random")
    return {
        sampler: {
            "tuned_on_test": spread([row["test"] - row["test_written"] for row in rows])._asdict(),
            "pooled": pooled(folder, sampler, len(rows)),
            "luck": mean(row["chosen"] - row["test"] for row in rows),
            "luck_reckoned": mean(row["chosen"] - row["corrected"] for row in rows),
            "against_random": against(rows, drawn) if drawn and rows is not drawn else None,
        }
        for sampler, rows in found.items()
    }


def against(mine: list[dict[str, Any]], drawn: list[dict[str, Any]]) -> dict[str, Any]:
    """By repetition: of the choice on validation and test, and of the best so far by trial."""
    told: dict[str, Any] = {}
    for name in ("chosen", "test"):
        sides = [[row[name] for row in side] for side in (mine, drawn)]
        told[name] = {
            "means": [mean(side) for side in sides],
            "difference": spread([a - b for a, b in zip(*sides, strict=True)])._asdict(),
            "p_value": permutation_test(*sides, seed=0),
        }
    areas = [[mean(row["best_so_far"]) for row in side] for side in (mine, drawn)]
    told["best_so_far"] = spread([a - b for a, b in zip(*areas, strict=True)])._asdict()
    return told


def pooled(folder: Path, sampler: str, repeats: int) -> dict[str, Any]:
    """Rows of the test file, each with its mean grade over the sampler's repetitions."""
    chosen, written = [], []
    for seed in range(1, repeats + 1):
        root = folder / f"{sampler}-{seed}"
        looks = json.loads((root / "tuning" / "test.json").read_bytes())
        number = json.loads((root / "tuning" / "found.json").read_bytes())["chosen"]
        chosen.append(looks[str(number)]["scores"])
        written.append(looks["0"]["scores"])
    sides = [[mean(column) for column in zip(*side, strict=True)] for side in (chosen, written)]
    return compared(*sides, draws=2000, seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="*", default=["summarization", "nli"])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samplers", nargs="+", default=["tpe", "gp", "random"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--plan", action="store_true", help="one trial of each task, then stop")
    for name in ("banking77", "teacher", "student"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    rows = {"train": options.train, "validation": options.held_out, "test": options.held_out}
    jobs = {
        task: (options.out / task, world_job(options.out / task, task, rows, options.epochs))
        for task in options.tasks
    }
    if options.banking77 and options.teacher and options.student:
        paths = (options.banking77, options.teacher, options.student)
        data, teacher, student = (path.absolute() for path in paths)
        job = banking_job(data, teacher, student, options.epochs)
        jobs["banking77"] = (options.out / "banking77", job)
    else:
        print("banking77: left out, as --banking77, --teacher and --student are not all given")

    def left(folder: Path) -> str:
        return hours_left(folder, options.repeats, options.trials, len(options.samplers))

    if options.plan:
        for folder, job in jobs.values():
            with suppress(OneTrial):
                searched(job, folder, options.samplers[0], 1, options.trials, one_trial)
            print(left(folder), flush=True)
        return
    found: dict[str, Any] = {name: {sampler: [] for sampler in options.samplers} for name in jobs}
    summaries: dict[str, Any] = {}
    for seed in range(1, options.repeats + 1):
        for name, (folder, job) in jobs.items():
            for sampler in options.samplers:
                row = row_of(searched(job, folder, sampler, seed, options.trials))
                found[name][sampler].append(row)
                print(name, sampler, seed, json.dumps(row), flush=True)
                print(left(folder), flush=True)
            summaries[name] = summary(found[name], folder)
        everything = {"found": found, "summaries": summaries}
        (options.out / "tuned.json").write_text(json.dumps(everything, indent=1))
    print(json.dumps(summaries, indent=1))


if __name__ == "__main__":
    main()
