"""A run of W&B in project $WANDB_PROJECT, else mwalimu; offline where there is no account.

Offline, a run is written anew from metrics.jsonl at every start: `wandb sync` uploads the folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import wandb


class InWandB:
    def __init__(self, folder: Path, job: str) -> None:
        online = os.environ.get("WANDB_MODE", "online") == "online" and wandb.login(prompt=False)
        if not online:
            shutil.rmtree(folder / "wandb", ignore_errors=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mwalimu"),
            id=job[:16],
            name=folder.name,
            resume="allow",
            dir=folder,
            mode="online" if online else "offline",
            settings=wandb.Settings(console="off", silent=True),
        )
        for kind in ("train", "validation"):
            self._run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")

    def last(self, kind: str) -> int:
        return int(self._run.summary.get(f"{kind}/step", -1))

    def show(self, kind: str, step: int, values: dict[str, float]) -> None:
        self._run.log({**values, f"{kind}/step": step})

    def close(self) -> None:
        self._run.finish()
