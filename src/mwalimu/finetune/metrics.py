"""`metrics.jsonl`: a line a step, a validation, a warning; each once however often we resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mwalimu.files import disk_errors

MOST_LINES = 5000
"""A longer run writes every k-th step, so that the file and its plot stay small."""


class MetricsLog:
    """Appends; opened at a checkpoint, it drops what came after that."""

    def __init__(self, path: Path, *, length: int, total_steps: int) -> None:
        """`length`: bytes of the file when the checkpoint was saved; what follows is cut."""
        self.path = path
        self.every = -(-total_steps // MOST_LINES)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = open(path, "ab")  # noqa: SIM115
            self._handle.truncate(_whole_lines(path, length))

    def train(self, values: dict[str, Any]) -> bool:
        """A step's line, in nats per target token and seconds; False if this step has none."""
        if values["step"] % self.every:
            return False
        self.write(values)
        return True

    def write(self, values: dict[str, Any]) -> None:
        with disk_errors(self.path):
            self._handle.write(json.dumps(values).encode() + b"\n")
            self._handle.flush()

    def sync(self) -> int:
        """Makes it durable; returns the bytes that a checkpoint may rely on."""
        with disk_errors(self.path):
            os.fsync(self._handle.fileno())
            return self._handle.tell()

    def close(self) -> None:
        self._handle.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines in order; those of steps have `loss`, of validations `validation_loss`."""
    with open(path, "rb") as handle:
        yield from map(json.loads, handle)


def _whole_lines(path: Path, length: int) -> int:
    """At most `length`; less if the file was cut by someone else."""
    with open(path, "rb") as handle:
        return handle.read(length).rfind(b"\n") + 1
