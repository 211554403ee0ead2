"""The training loop: fit > epoch > step, resumable at any step with the same result to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mwalimu.config import FinetuneConfig, PartConfig
from mwalimu.data.collate import Batch, collate
from mwalimu.data.tokenize import Encoded
from mwalimu.errors import NonFiniteLoss
from mwalimu.finetune.batches import epoch_batches
from mwalimu.finetune.checkpoint import Best, Checkpoints, TrainState
from mwalimu.finetune.exact import seed_all
from mwalimu.finetune.interrupt import Interruption, interruption
from mwalimu.finetune.metrics import MetricsLog
from mwalimu.finetune.on_policy import Rollout
from mwalimu.finetune.optimiser import build_optimiser, learning_rate
from mwalimu.finetune.teacher.view import TeacherSource
from mwalimu.finetune.teaching import TEXT_ALONE, Teaching, accumulate

Report = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, note)."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained how; `fingerprint` names all that the result depends on.

    `source` is where the teacher's distributions come from, for the parts that need them.
    """

    settings: FinetuneConfig
    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    pad_id: int
    seed: int
    fingerprint: str
    autocast: bool = False
    parts: Sequence[PartConfig] = TEXT_ALONE
    source: TeacherSource | None = None
    rollout: Rollout | None = None


class Trainer:
    """Trains `model` in place; checkpoints and metrics.jsonl go to `folder`."""

    def __init__(self, model: Any, job: Job, folder: Path, report: Report) -> None:
        self.model = model
        self.job = job
        self.folder = folder
        self.report = report
        self.state = TrainState()
        self.teaching = Teaching(model, job.parts, job.source, autocast=job.autocast, seed=job.seed)
        self.learner = _learner(model, self.teaching.trained)
        named = [(name, p) for name, p in self.learner.named_parameters() if p.requires_grad]
        self.parameters = [parameter for _, parameter in named]
        self.optimiser = build_optimiser(named, job.settings)
        self.checkpoints = Checkpoints(folder / "checkpoints", job.fingerprint)
        self.lengths = [len(row.ids) for row in job.train]
        batches = math.ceil(len(self.lengths) / job.settings.batch_size)
        self.total = math.ceil(batches / job.settings.accumulation) * job.settings.epochs
        self._interrupted = Interruption()
        self._saved = (0, 0)

    def fit(self) -> TrainState:
        """Trains to the end, from the newest checkpoint if there is one; takes the best epoch.

        Raises:
            NonFiniteLoss: before the optimiser step that would have spoilt the weights.
            DiskFull: the checkpoints on disk are whole.
            KeyboardInterrupt: after a checkpoint of the last whole step.
        """
        self._resume()
        state = self.state
        self.metrics = MetricsLog(
            self.folder / "metrics.jsonl",
            step=state.step,
            epoch=state.epoch,
            total_steps=self.total,
        )
        self.model.train()
        try:
            with interruption() as self._interrupted:
                self._start_clock()
                while not self.finished:
                    self._epoch()
        finally:
            self.metrics.close()
        self._take_best()
        return state

    @property
    def finished(self) -> bool:
        return self.state.epoch >= self.job.settings.epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        return self.state.stale_epochs >= self.job.settings.patience

    def _resume(self) -> None:
        seed_all(self.job.seed)

        def skipped(note: str) -> None:
            self.report(0, self.total, note)

        restored = self.checkpoints.restore(self.learner, self.optimiser, skipped)
        if restored is not None:
            self.state = restored
            self._saved = (restored.step, restored.epoch)
            self.report(restored.step, self.total, f"goes on from step {restored.step}")

    def _epoch(self) -> None:
        for batches in self._epoch_steps()[self.state.position :]:
            self._train_step(batches)
            if self.state.step % self.job.settings.save_every == 0:
                self._save()
            self._pause_if_asked()
        self._close_epoch()
        self._pause_if_asked()

    def _epoch_steps(self) -> list[list[list[Encoded]]]:
        """Rows, by batch, by optimiser step."""
        settings, rows = self.job.settings, self.job.train
        indices = epoch_batches(
            self.lengths, settings.batch_size, seed=self.job.seed, epoch=self.state.epoch
        )
        batches = [[rows[index] for index in batch] for batch in indices]
        size = settings.accumulation
        return [batches[start : start + size] for start in range(0, len(batches), size)]

    def _train_step(self, batches: list[list[Encoded]]) -> None:
        step, settings = self.state.step, self.job.settings
        rate = learning_rate(step, self.total, settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        tensors = self._tensors(batches)
        tokens = sum(batch.labels_N.numel() for batch in tensors)
        taken = accumulate(self.teaching, tensors, step / self.total)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, settings.max_grad_norm, foreach=True)
        # The one synchronisation of the step.
        read = torch.stack([taken.loss, norm.float(), *taken.sums.values()])
        loss, grad_norm, *sums = read.tolist()
        _require_finite(loss, grad_norm, step + 1)
        self.optimiser.step()
        seen = sum(len(row.ids) for batch in tensors for row in batch.rows)
        self._count(loss * tokens, tokens, seen)
        means = {n: value / taken.tokens[n] for n, value in zip(taken.sums, sums, strict=True)}
        self._tell(loss, means, rate, grad_norm)

    def _tensors(self, batches: list[list[Encoded]]) -> list[Batch]:
        """The micro-batches of a step; on-policy rows are answered first, all in one go."""
        state, device = self.state, self.model.device
        split = [(rows, False) for rows in batches]
        if self.job.rollout is not None:
            done = state.step / self.total
            split = self.job.rollout.split(self.model, batches, state.step, done)
        return [
            collate(rows, pad_id=self.job.pad_id, device=device, on_policy=own)
            for rows, own in split
        ]

    def _count(self, nats: float, tokens: int, seen: int) -> None:
        state = self.state
        state.step += 1
        state.position += 1
        state.tokens += tokens
        state.epoch_nats += nats
        state.epoch_tokens += tokens
        state.seconds = time.perf_counter() - self._clock
        self._seen += seen

    def _tell(self, loss: float, parts: dict[str, float], rate: float, grad_norm: float) -> None:
        state, epochs = self.state, self.job.settings.epochs
        self.metrics.train(
            {
                "step": state.step,
                "epoch": round(state.step * epochs / self.total, 4),
                "loss": loss,
                "parts": parts,
                "learning_rate": rate,
                "grad_norm": grad_norm,
                "tokens": state.tokens,
                "seconds": round(state.seconds, 3),
            }
        )
        speed = self._seen / max(state.seconds - self._resumed_at, 1e-9)
        best = state.best.validation_loss if state.best else None
        validated = "" if best is None else f" val {best:.3f}"
        note = f"epoch {state.epoch + 1}/{epochs} loss {loss:.3f}{validated}"
        self.report(state.step, self.total, f"{note} {speed / 1000:.1f}k tok/s")

    def _start_clock(self) -> None:
        self._resumed_at = self.state.seconds
        self._clock = time.perf_counter() - self.state.seconds
        self._seen = 0

    def _close_epoch(self) -> None:
        """Validation, the choice of the best epoch, a checkpoint."""
        state = self.state
        loss = self._validate() if self.job.validation else None
        best = state.best.validation_loss if state.best else None
        better = loss is None or best is None or loss < best
        state.epoch += 1
        if better:
            train_loss = state.epoch_nats / state.epoch_tokens
            state.best = Best(state.epoch, state.step, train_loss, loss)
        if loss is not None:
            self.metrics.validation(step=state.step, epoch=state.epoch, loss=loss, best=better)
        state.stale_epochs = 0 if better else state.stale_epochs + 1
        state.position, state.epoch_nats, state.epoch_tokens = 0, 0.0, 0
        self._save()

    def _validate(self) -> float:
        """The objective at its end: mean per target token over all validation rows, dropout off."""
        rows = sorted(self.job.validation, key=lambda row: len(row.ids))
        size, device = self.job.settings.batch_size, self.model.device
        scale = 1 / sum(row.targets for row in rows)
        shares = []
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(rows), size):
                self._pause_if_asked()
                batch = collate(rows[start : start + size], pad_id=self.job.pad_id, device=device)
                shares.append(self.teaching(batch, scale, 1.0).loss.double())
        self.model.train()
        loss = float(torch.stack(shares).sum())
        _require_finite(loss, 0.0, self.state.step)
        return loss

    def _pause_if_asked(self) -> None:
        if self._interrupted.asked:
            self.report(self.state.step, self.total, "Ctrl-C: saves a checkpoint")
            self._save()
            raise KeyboardInterrupt

    def _save(self) -> None:
        """The metrics first: a checkpoint never knows of a step that they lack."""
        at = (self.state.step, self.state.epoch)
        if at == self._saved:
            return
        self.state.seconds = time.perf_counter() - self._clock
        self.metrics.sync()
        self.checkpoints.save(self.state, self.learner, self.optimiser)
        self._saved = at

    def _take_best(self) -> None:
        best = self.state.best
        if best is not None and best.step != self.state.step:
            self.checkpoints.restore_weights(self.learner, best.step)


def _learner(model: Any, own: torch.nn.Module) -> Any:
    """The student, and what the losses train beside it, which is not published."""
    if not any(True for _ in own.parameters()):
        return model
    return torch.nn.ModuleDict({"student": model, "losses": own})


def _require_finite(nats: float, grad_norm: float, step: int) -> None:
    if math.isfinite(nats) and math.isfinite(grad_norm):
        return
    what = "loss" if not math.isfinite(nats) else "gradient"
    raise NonFiniteLoss(
        f"the {what} is not finite at step {step}; the weights were left as they are",
        where="finetune",
        fix="lower finetune.learning_rate",
    )
