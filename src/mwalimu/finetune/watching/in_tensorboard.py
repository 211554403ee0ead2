"""Event files in `tensorboard/`, made again from metrics.jsonl at every start."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

FLUSH_S = 10


class InTensorBoard:
    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self._writer = SummaryWriter(str(folder / "tensorboard"), flush_secs=FLUSH_S)

    def last(self, kind: str) -> int:
        return -1

    def show(self, kind: str, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
