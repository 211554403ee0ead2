"""TensorBoard, MLflow and W&B show what metrics.jsonl says, whatever was killed in between.

Opened, a tracker is asked for the last step that it has of each kind, and gets what it lacks. A
resumed training repeats steps with the same numbers, so a step that a tracker has already is not
shown to it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from mwalimu.errors import MissingDependency
from mwalimu.finetune.metrics import read_metrics

KINDS = {"loss": "train", "validation_loss": "validation"}
"""The key that tells what a line is about -> the kind of its values."""


class Tracker(Protocol):
    def last(self, kind: str) -> int:
        """The last step of `kind` that it has; -1 if none."""

    def show(self, kind: str, step: int, values: dict[str, float]) -> None:
        """`values` by name, such as train/loss."""

    def close(self) -> None: ...


class Trackers:
    """Those that `finetune.track` names. One that fails is dropped, and the training goes on."""

    def __init__(
        self, names: Sequence[str], folder: Path, job: str, say: Callable[[str], None]
    ) -> None:
        """`job` tells the training from others in the same project; `say` tells of a failure."""
        self.say = say
        self._open: dict[str, Tracker] = {}
        self._shown: dict[tuple[str, str], int] = {}
        for name in names:
            with self._guarded(name):
                tracker = _open(name, folder, job)
                self._open[name] = tracker
                self._shown |= {(name, kind): tracker.last(kind) for kind in KINDS.values()}

    def catch_up(self, metrics: Path) -> None:
        if self._open:
            for line in read_metrics(metrics):
                self.show(line)

    def show(self, line: dict[str, Any]) -> None:
        """A line of metrics.jsonl, if it holds numbers."""
        kind = next((kind for key, kind in KINDS.items() if key in line), None)
        if kind is None:
            return
        step, values = line["step"], _numbers(kind, line)
        for name, tracker in list(self._open.items()):
            if step > self._shown[name, kind]:
                with self._guarded(name):
                    tracker.show(kind, step, values)
                    self._shown[name, kind] = step

    def close(self) -> None:
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                tracker.close()

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Whatever a tracker raises is its own affair: a server may be down for an hour."""
        try:
            yield
        except Exception as error:
            self._open.pop(name, None)
            reason = (str(error).splitlines() or [""])[0]
            self.say(
                f"{name} shows this training no longer ({type(error).__name__}: {reason}); "
                "metrics.jsonl goes on"
            )


def require_trackers(names: Sequence[str]) -> None:
    """Raises MissingDependency, before anything is loaded, for what is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise MissingDependency(
                f"{name} is not installed",
                where="finetune.track",
                fix=f"pip install 'mwalimu[{name}]', or leave it out",
            )


def _open(name: str, folder: Path, job: str) -> Tracker:
    if name == "tensorboard":
        from mwalimu.finetune.watching.in_tensorboard import InTensorBoard

        return InTensorBoard(folder)
    if name == "mlflow":
        from mwalimu.finetune.watching.in_mlflow import InMLflow

        return InMLflow(folder, job)
    from mwalimu.finetune.watching.in_wandb import InWandB

    return InWandB(folder, job)


def _numbers(kind: str, line: dict[str, Any]) -> dict[str, float]:
    """train/loss, train/parts/cross_entropy, validation/loss and so on."""
    values = {f"parts/{name}": value for name, value in line.get("parts", {}).items()}
    values |= {key: value for key, value in line.items() if isinstance(value, int | float)}
    for key in ("step", "best"):
        values.pop(key, None)
    return {f"{kind}/{key.removeprefix(f'{kind}_')}": value for key, value in values.items()}
