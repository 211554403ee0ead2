"""Predicted and measured peak memory of trainings, each in a process of its own.

    python benchmarks/finetune/memory.py [--only WORDS] [--out results.json]

A tiny training of the same kind goes first, so that the libraries have loaded what they load late;
what is measured begins behind it. On CUDA that is torch.cuda.max_memory_allocated. On a CPU it is
the most that is resident in the process: once with MALLOC_MMAP_THRESHOLD_ set, so that memory which
is freed goes back to the system (what the training needs), and once as the C library does by itself
(what the process holds). The table goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from memory_cases import CASES, Case

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.finetune.footprint import Footprint, Lengths, Setting, footprint
from mwalimu.finetune.footprint.model import FLOAT32, Model, Precision
from mwalimu.registry.shape import Shape

HERE = Path(__file__).resolve().parent
MIB = 2**20
GOAL = 0.10
STEPS = 3
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(256 << 10)}


class Forced(Setting):
    autocast = True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="cases whose names have one of these, by commas")
    parser.add_argument("--needs-only", action="store_true", help="not as the C library does it")
    parser.add_argument("--out", type=Path, help="JSON of everything")
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    found = []
    for case in CASES.values():
        if not any(word in case.name for word in arguments.only.split(",")):
            continue
        if cuda and case.autocast:  # which is how all of them run there
            continue
        found.append(compared(case, cuda=cuda, both=not (cuda or arguments.needs_only)))
        tell(line(found[-1]))
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


def compared(case: Case, *, cuda: bool, both: bool) -> dict[str, Any]:
    """In bytes, beyond the libraries."""
    expected = predicted(case, "cuda" if cuda else "cpu")
    needs = measured(case, GIVES_BACK)
    found = {
        "case": case.name,
        "moment": expected.moment,
        "predicted": expected.terms.total,
        "needs": needs["peak"],
        "error": expected.terms.total / needs["peak"] - 1,
        "libraries": needs["libraries"],
        "terms": expected.terms._asdict(),
    }
    return found | ({"holds": measured(case, {})["peak"]} if both else {})


def predicted(case: Case, device: Any) -> Footprint:
    shape = Shape(**case.shape)
    finetune = FinetuneConfig.model_validate({"epochs": 1, **case.finetune})
    rows = STEPS * finetune.batch_size * finetune.accumulation
    as_teacher = Model(shape, Precision(FLOAT32, FLOAT32, FLOAT32, FLOAT32, False))
    return footprint(
        (Forced if case.autocast else Setting)(
            shape=shape,
            student=StudentConfig(model="", **case.student),
            finetune=finetune,
            lengths=Lengths(
                longest=case.length,
                targets=case.targets,
                all=(rows + 1) * case.length,
                alike=not case.shortest,
            ),
            device=device,
            validates=case.validates,
            teacher=as_teacher if case.teacher == "live" else None,
        )
    )


def measured(case: Case, environment: dict[str, str]) -> dict[str, int]:
    command = [sys.executable, str(HERE / "memory_worker.py"), "--case", case.name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def line(row: dict[str, Any]) -> str:
    holds = f", holds {row['holds'] / MIB:,.0f}" if "holds" in row else ""
    return (
        f"{row['case']}: predicted {row['predicted'] / MIB:,.0f} MiB ({row['moment']}), "
        f"needs {row['needs'] / MIB:,.0f}{holds}: {row['error']:+.1%}"
    )


def table(found: list[dict[str, Any]]) -> str:
    lines = [
        "| training | fullest moment | predicted, MiB | needed, MiB | error | held, MiB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in found:
        held = f"{row['holds'] / MIB:,.0f}" if "holds" in row else ""
        lines.append(
            f"| {row['case']} | {row['moment']} | {row['predicted'] / MIB:,.0f} "
            f"| {row['needs'] / MIB:,.0f} | {row['error']:+.1%} | {held} |"
        )
    good = sum(abs(row["error"]) <= GOAL for row in found)
    return "\n".join([*lines, "", f"{good} of {len(found)} within {GOAL:.0%}"])


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
