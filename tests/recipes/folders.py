"""Which folders of `recipes/` there are, and how one is shrunk to a few rows and two steps."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from recipes.make_data import RECIPES

from mwalimu import api
from mwalimu.config import load_config
from mwalimu.data.dataset import load_records
from mwalimu.teachers.base import Request

ELSEWHERE = {"customer-service"}  # tested in a file of its own
SPLITS = ("train", "validation", "test", "labelled")
ROWS = 4


def _own(folder: Path) -> bool:
    """Of pairs of real models `test_recipes.py` knows more."""
    return "-to-" not in folder.name and folder.name not in ELSEWHERE


FOLDERS = [
    str(path.parent.relative_to(RECIPES))
    for path in sorted(RECIPES.rglob("distill.yaml"))
    if _own(path.parent)
]
WORLDS = [
    str(path.parent.relative_to(RECIPES))
    for path in sorted(RECIPES.glob("*/world.py"))
    if _own(path.parent)
]


def copied(name: str, to: Path) -> Path:
    """The folder as a user has it who followed its README: converted where its rows are others'."""
    job = Path(shutil.copytree(RECIPES / name, to / "job"))
    task = load_config(job / "distill.yaml").task
    for public in (job / "public").glob("*"):
        split = "train" if public.name.startswith("train") else "test"  # SQuAD calls it dev
        api.convert_data(public, job / f"{split}.jsonl", to="mwalimu", task=task)
    return job


def data_files(job: Path) -> dict[str, Path]:
    data = load_config(job / "distill.yaml").data
    found = {split: getattr(data, split) for split in SPLITS}
    return {split: path for split, path in found.items() if path is not None}


def shrunk(job: Path) -> None:
    """The first rows of each file alone."""
    for path in data_files(job).values():
        kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]
        path.write_text("".join(kept), encoding="utf-8")


def gold_script(job: Path) -> Callable[[Request], str]:
    """Answers with the gold answer of the same question, else with another row's: what a task
    accepts, whatever the task.
    """
    config = load_config(job / "distill.yaml")
    known: dict[str, str] = {}
    for split, path in data_files(job).items():
        for record in load_records(path, task=config.task, split=split):
            if record.reference is not None:
                known[record.messages[-1].content] = record.reference
    answers = sorted(set(known.values()))

    def script(request: Request) -> str:
        asked = request.messages[-1].content
        place = hashlib.sha256(asked.encode()).digest()[0] % len(answers)
        return known.get(asked, answers[place])

    return script
