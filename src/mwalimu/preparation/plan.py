"""What the stage `prepare` depends on, and what stage 1 reads of it; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mwalimu.config import Config
from mwalimu.data.dataset import Dataset, open_dataset
from mwalimu.data.shards import rows_hash
from mwalimu.run import Run


def is_wanted(config: Config) -> bool:
    """Whether the config asks for anything that can leave a row out, or for a report of topics."""
    wanted = config.prepare
    held_out = config.data.test or config.data.validation or wanted.public_sets
    drops = bool(held_out) and "drop" in (config.data.contamination, wanted.overlap)
    parts = (wanted.near_duplicates, wanted.topics, wanted.balance, wanted.select)
    return drops or any(part is not None for part in parts)


def facts(config: Config, hashes: Mapping[str, str | None]) -> dict[str, Any]:
    """All that the result depends on; `hashes` are those of the user's files, by split.

    Raises ConfigError for a public set that there is not.
    """
    from mwalimu.preparation.public_sets import public_set_hash

    scores = config.prepare.select.scores if config.prepare.select else None
    return {
        "inputs": {split: hashes.get(split) for split in ("train", "validation", "test")},
        "prepare": config.prepare.model_dump(),
        "contamination": config.data.contamination,
        "scores": rows_hash(scores),
        "public_sets": [public_set_hash(name) for name in config.prepare.public_sets],
        "max_rows": config.data.max_rows,
        "task": config.task,
        "seed": config.seed,
    }


def prepared_prompts(run: Run, task: str, splits: Iterable[str]) -> dict[str, Dataset]:
    """The rows that are left. Raises RunError where the stage is not finished."""
    run.require("prepare")
    paths = {split: run.path("prepare", f"{split}.jsonl") for split in splits}
    return {split: open_dataset(path, task=task, split=split) for split, path in paths.items()}
