"""The user's files, all read and checked before anything is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mwalimu.config import Config
from mwalimu.data.dataset import Dataset, load_records, open_dataset
from mwalimu.data.formats import detect
from mwalimu.data.record import Record
from mwalimu.data.shards import Shards
from mwalimu.errors import RunError
from mwalimu.run import Run

SPLITS = ("train", "validation", "test", "labelled")
PROMPTS = ("train", "validation")  # what the teacher is asked in stage 1
BOUGHT = ("buying", "train.jsonl")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The prompts are streamed, however many there are; the held-out rows fit in memory."""

    prompts: dict[str, Dataset]
    held_out: dict[str, list[Record]]
    hashes: dict[str, str]


def read_inputs(config: Config) -> Inputs:
    """Reads every file that the config names; all bad rows of a file are in one error."""
    prompts: dict[str, Dataset] = {}
    held_out: dict[str, list[Record]] = {}
    hashes: dict[str, str] = {}
    for split in SPLITS:
        path: Path | None = getattr(config.data, split)
        if path is None:
            continue
        if split in PROMPTS:
            rows = config.data.max_rows if split == "train" else None
            prompts[split] = open_dataset(path, task=config.task, split=split, max_rows=rows)
        else:
            held_out[split] = load_records(path, task=config.task, split=split)
        hashes[split] = Shards(path).sha256()
    return Inputs(prompts, held_out, hashes)


def streamed_test(config: Config, inputs: Inputs) -> Dataset | None:
    """The test rows with their places."""
    if (path := config.data.test) is None:
        return None
    shards = Shards(path)
    return Dataset(shards, config.task, "test", len(inputs.held_out["test"]), detect(shards))


def bought_prompts(run: Run, task: str) -> Dataset:
    """With `active`, the prompts that the rounds so far have chosen. Raises RunError before one."""
    path = run.path(*BOUGHT)
    if not path.is_file():
        fix = "run 'mwalimu buy' or 'mwalimu run' on this run folder first"
        raise RunError("no prompt has been chosen to be bought", where=str(path), fix=fix)
    return open_dataset(path, task=task, split="train")
