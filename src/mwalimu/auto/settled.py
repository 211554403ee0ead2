"""The job on what was bought: an ordinary one, whose prompts are those of the rounds."""

from __future__ import annotations

from typing import Any

from mwalimu.config import Config, PrepareConfig
from mwalimu.pipeline.inputs import BOUGHT
from mwalimu.preparation.plan import is_wanted
from mwalimu.run import Run


def settled(config: Config, run: Run) -> Config:
    """Its stages are those of the run folder, so nothing is asked or prepared again."""
    root = run.root.absolute()
    data: dict[str, Any] = {"train": root.joinpath(*BOUGHT), "traffic": None}
    if is_wanted(config):
        data["validation"] = root / "prepare" / "validation.jsonl"
    if config.data.contamination == "drop":  # what there was is gone
        data["contamination"] = "refuse"
    changes = {
        "data": config.data.model_copy(update=data),
        "prompts": None,
        "active": None,
        "prepare": PrepareConfig(),
    }
    return config.model_copy(update=changes)
