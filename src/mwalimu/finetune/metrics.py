"""`metrics.jsonl`: a line a step and a line a validation, each once however often we resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mwalimu.run import atomic_writer, disk_errors

MOST_LINES = 5000
"""A longer run writes every k-th step, so that the file and its plot stay small."""


class MetricsLog:
    """Appends; opened at a checkpoint, it drops what came after that."""

    def __init__(self, path: Path, *, step: int, epoch: int, total_steps: int) -> None:
        """`step` and `epoch`: steps taken and epochs validated; later lines are cut."""
        self.path = path
        self.every = -(-total_steps // MOST_LINES)
        kept = [line for line in _lines(path) if _is_before(line, step, epoch)]
        with atomic_writer(path) as handle:
            handle.writelines(kept)
        self._handle = open(path, "ab")  # noqa: SIM115

    def train(self, values: dict[str, Any]) -> None:
        """A step's line: step, epoch, loss (nats/token), learning_rate, grad_norm, tokens..."""
        if values["step"] % self.every == 0:
            self._write(values)

    def validation(self, *, step: int, epoch: int, loss: float, best: bool) -> None:
        self._write({"step": step, "epoch": epoch, "validation_loss": loss, "best": best})

    def sync(self) -> None:
        with disk_errors(self.path):
            os.fsync(self._handle.fileno())

    def close(self) -> None:
        self._handle.close()

    def _write(self, values: dict[str, Any]) -> None:
        with disk_errors(self.path):
            self._handle.write(json.dumps(values).encode() + b"\n")
            self._handle.flush()


def _lines(path: Path) -> list[bytes]:
    """Whole lines; a torn last one (killed while writing) is left out."""
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _is_before(line: bytes, step: int, epoch: int) -> bool:
    try:
        values = json.loads(line)
        if "validation_loss" in values:
            return bool(values["epoch"] <= epoch)
        return bool(values["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False
