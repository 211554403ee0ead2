"""All that a training tells: a line and a note a step, warnings in words, and the trackers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mwalimu.config import FinetuneConfig
from mwalimu.finetune.metrics import MetricsLog
from mwalimu.finetune.state import TrainState
from mwalimu.finetune.watching.flops import Work
from mwalimu.finetune.watching.observing import Observer
from mwalimu.finetune.watching.signs import Sign, Signs
from mwalimu.finetune.watching.speed import Speed
from mwalimu.finetune.watching.trackers import Trackers

Report = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, note). In all 0: a note that stays to be read."""


class Watch:
    """Opened where a training begins or goes on; closed at its end, however that comes."""

    def __init__(
        self,
        folder: Path,
        settings: FinetuneConfig,
        state: TrainState,
        speed: Speed,
        trackers: Trackers,
        report: Report,
        *,
        total: int,
    ) -> None:
        self.settings = settings
        self.state = state
        self.speed = speed
        self.report = report
        self.total = total
        path = folder / "metrics.jsonl"
        self.metrics = MetricsLog(path, length=state.log_bytes, total_steps=total)
        warmup = math.ceil(settings.warmup_ratio * total)
        self.signs = Signs(state.signs, warmup=warmup, total=total)
        self.observer = Observer(total)
        self.trackers = trackers
        self.trackers.catch_up(path)

    def step(
        self,
        loss: float,
        parts: dict[str, float],
        rate: float,
        grad_norm: float,
        work: Work,
    ) -> None:
        """After an optimiser step, which had `work` to do."""
        state = self.state
        line = {
            **self._place(),
            "loss": loss,
            "parts": parts,
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "tokens": state.tokens,
            "seconds": round(state.seconds, 3),
            **self.speed.lap(work),
        }
        self.observer.line(line)
        if self.metrics.train(line):
            self.trackers.show(line)
        self._warn(self.signs.step(state.step, loss, grad_norm))
        best = state.best.validation_loss if state.best else None
        validated = "" if best is None else f" val {best:.3f}"
        note = f"epoch {state.epoch + 1}/{self.settings.epochs} loss {loss:.3f}{validated}"
        self.report(state.step, self.total, f"{note} {self.speed.mean / 1000:.1f}k tok/s")

    def validation(self, loss: float, answer_nats: float, *, better: bool) -> None:
        """After the best was chosen. `answer_nats`: mean of -ln p(answer) over the rows."""
        state = self.state
        assert state.best is not None
        line = {
            **self._place(),
            "validation_loss": loss,
            "answer_nats": answer_nats,
            "best": better,
        }
        self.observer.line(line)
        self.metrics.write(line)
        self.trackers.show(line)
        self._warn(
            self.signs.validation(
                state.step, loss, best=state.best.step, train_loss=state.epoch_loss
            )
        )
        if state.stale >= self.settings.patience:
            text = f"stops early: no better validation loss in {state.stale} evaluations"
            self._warn([Sign("stopped_early", f"{text}; best was step {state.best.step}")])

    def epoch(self, number: int) -> None:
        """`number` epochs are over."""
        self.observer.epoch(number, self.state.step, self.state.epoch_loss)
        self._warn(self.signs.epoch(number, self.state.step, self.state.epoch_loss))

    def say(self, text: str) -> None:
        """Something that ought to be read."""
        self.report(0, 0, text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as time of a step."""
        with self.speed.paused():
            yield

    def sync(self) -> None:
        """Before a checkpoint: it never knows of a step that the metrics lack."""
        self.state.log_bytes = self.metrics.sync()

    def close(self) -> None:
        self.metrics.close()
        self.trackers.close()

    def _place(self) -> dict[str, Any]:
        epoch = round(self.state.step * self.settings.epochs / self.total, 4)
        return {"step": self.state.step, "epoch": epoch}

    def _warn(self, signs: Sequence[Sign]) -> None:
        for sign in signs:
            self.metrics.write({**self._place(), "event": sign.kind, "text": sign.text})
            self.observer.sign(sign.kind, self.state.step)
            self.say(sign.text)
