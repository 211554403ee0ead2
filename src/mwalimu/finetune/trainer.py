"""The training loop: fit > epoch > step, resumable at any step with the same result to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mwalimu.config import FinetuneConfig, PartConfig
from mwalimu.data.quantised import parameter_count
from mwalimu.data.tokenize import Encoded
from mwalimu.errors import NonFiniteLoss
from mwalimu.finetune.batches import epoch_batches
from mwalimu.finetune.checkpoint import Checkpoints
from mwalimu.finetune.exact import kept_random_state, seed_all
from mwalimu.finetune.execution import packings_of, run_layers, tell_if_padded
from mwalimu.finetune.footprint import Setting
from mwalimu.finetune.interrupt import PASSED_ON, Interruption, interruption
from mwalimu.finetune.loader import Loader, Step
from mwalimu.finetune.memory import memory_errors
from mwalimu.finetune.mixture import Mixture
from mwalimu.finetune.on_policy import Rollout
from mwalimu.finetune.optimiser import build_optimiser, learning_rate
from mwalimu.finetune.parallel.dealing import deal
from mwalimu.finetune.parallel.strategy import clip_norm, strategy_of
from mwalimu.finetune.parallel.world import ALONE, World
from mwalimu.finetune.snapshot import Snapshot
from mwalimu.finetune.state import Best, TrainState
from mwalimu.finetune.teacher.view import TeacherSource
from mwalimu.finetune.teaching import TEXT_ALONE, Teaching, accumulate, count_tokens
from mwalimu.finetune.watching.flops import Work
from mwalimu.finetune.watching.speed import Speed
from mwalimu.finetune.watching.trackers import Trackers
from mwalimu.finetune.watching.unseen import Unseen
from mwalimu.finetune.watching.watch import Report, Watch


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained how; `fingerprint` names all that the result depends on.

    `source` is where the teacher's distributions come from, for the parts that need them. `memory`
    is what the training takes of it, where that can be worked out.
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
    memory: Setting | None = None
    mixture: Mixture | None = None


class Update(NamedTuple):
    """Of one optimiser step: its loss and that of each part, in nats per target token."""

    loss: float
    parts: dict[str, float]
    grad_norm: float
    tokens: int
    work: Work


class Judged(NamedTuple):
    """Of the validation rows: the objective at its end, in nats per target token, and what an
    answer costs the student, mean of -ln p(answer), which no objective or tokenizer scales.
    """

    loss: float
    answer_nats: float


class Trainer:
    """Trains `model` in place; checkpoints and metrics.jsonl go to `folder`."""

    def __init__(
        self, model: Any, job: Job, folder: Path, report: Report, world: World = ALONE
    ) -> None:
        self.model = model
        self.job = job
        self.folder = folder
        self.report = report
        self.world = world
        self.state = TrainState()
        run_layers(model, job.settings)
        self.teaching = Teaching(
            model,
            job.parts,
            job.source,
            autocast=job.autocast,
            packings=packings_of(job.settings, model.device),
            seed=job.seed,
        )
        tell_if_padded(self.teaching.forward.why_padded, job.settings, partial(report, 0, 0))
        self.loader = Loader.of(self.teaching, job.settings, job.pad_id)
        self.learner = _learner(model, self.teaching.trained)
        self.strategy = strategy_of(job.settings, model, self.learner, world, autocast=job.autocast)
        named = [(name, p) for name, p in self.learner.named_parameters() if p.requires_grad]
        self.parameters = [parameter for _, parameter in named]
        self.optimiser = build_optimiser(named, job.settings)
        self.snapshot = Snapshot(self.learner, self.optimiser, world)
        self.checkpoints = Checkpoints(
            folder / "checkpoints", job.fingerprint, job.settings.keep, world
        )
        self.lengths = [len(row) for row in job.train]
        self.shortest = min(job.train, key=lambda row: len(row))
        batches = math.ceil(len(self.lengths) / job.settings.batch_size)
        self.total = math.ceil(batches / job.settings.accumulation) * job.settings.epochs
        self._interrupted = Interruption()
        self._saved: tuple[int, int] | None = None

    def fit(self) -> TrainState:
        """Trains to the end, from the newest checkpoint if there is one; takes the best weights.

        Raises:
            NonFiniteLoss: before the optimiser step that would have spoilt the weights, or before a
                checkpoint of spoilt ones.
            DiskFull: the checkpoints on disk are whole.
            OutOfMemory: as well; says what to change.
            KeyboardInterrupt: after a checkpoint of the last whole step.
        """
        job = self.job
        grace = 0.0 if self.world.size == 1 else PASSED_ON
        with memory_errors(self.model, job.settings, self.lengths, job.memory):
            self._resume()
            self.model.train()
            with self._watched() as self.watch, interruption(grace) as self._interrupted:
                self._prove()
                while not self.finished:
                    self._epoch()
            self._take_best()
        return self.state

    def validation_loss(self) -> float:
        """The objective at its end, of the weights as they are: nats per target token."""
        with closing(Unseen()) as self.watch, kept_random_state():
            return self._validate(self.job.validation).loss

    @property
    def finished(self) -> bool:
        return self.state.epoch >= self.job.settings.epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        return self.state.stale >= self.job.settings.patience

    def _resume(self) -> None:
        seed_all(self.job.seed + self.world.rank)  # each process drops other units

        def skipped(note: str) -> None:
            self.report(0, 0, note)

        restored = self.checkpoints.restore(self.snapshot, skipped)
        if restored is not None:
            self.state = restored
            self._saved = (restored.step, restored.judged)
            self.report(0, 0, f"goes on from step {restored.step}")
        self._clock = time.perf_counter() - self.state.seconds
        self._last_save = time.perf_counter()

    def _watched(self) -> closing[Watch] | closing[Unseen]:
        job, folder = self.job, self.folder
        if not self.world.main:
            return closing(Unseen())
        return closing(
            Watch(
                folder,
                job.settings,
                self.state,
                Speed(self.model, autocast=job.autocast, devices=self.world.size),
                Trackers(job.settings.track, folder, job.fingerprint, partial(self.report, 0, 0)),
                self.report,
                total=self.total,
            )
        )

    def _prove(self) -> None:
        """Room on the disk; before the first step also that saving and validating work."""
        published = parameter_count(self.model) * self.model.dtype.itemsize
        self.checkpoints.require_room(self.snapshot, published)
        if self.state.step:
            return
        self._save()
        if self.job.validation:
            longest = sorted(self.job.validation, key=lambda row: len(row))
            with kept_random_state():
                self._validate(longest[-self.job.settings.batch_size :])

    def _epoch(self) -> None:
        with self._ready(self.epoch_steps()[self.state.position :]) as steps:
            for step in steps:
                if self._validation_is_due:
                    self._judge()
                    self._save()
                if self.finished:
                    return
                self._train_step(step)
                if self._save_is_due and not self._validation_is_due:
                    self._save()
                self._pause_if_asked()
        self._close_epoch()
        self._pause_if_asked()

    def epoch_steps(self) -> list[list[list[Encoded]]]:
        """Rows, by batch, by optimiser step."""
        settings, rows = self.job.settings, self.job.train
        mixture, moment = self.job.mixture, {"seed": self.job.seed, "epoch": self.state.epoch}
        drawn = None if mixture is None else mixture.rows(**moment)
        indices = epoch_batches(self.lengths, settings.batch_size, rows=drawn, **moment)
        batches = [[rows[index] for index in batch] for batch in indices]
        size = settings.accumulation
        return [batches[start : start + size] for start in range(0, len(batches), size)]

    def _ready(self, steps: list[list[list[Encoded]]]) -> AbstractContextManager[Iterator[Step]]:
        """Made ahead; but what the student answers itself it answers as it is in that step."""
        if self.job.rollout is not None:
            return nullcontext(map(self.ready, steps))
        return self.loader.steps(self.ready, steps)

    def ready(self, batches: list[list[Encoded]]) -> Step:
        """On-policy rows are answered first, all in one go."""
        batches = deal(batches, self.world)
        split = [(rows, False) for rows in batches]
        if (rollout := self.job.rollout) is not None:
            step, done = self.state.step, self.state.step / self.total
            with self.strategy.whole():
                split = self.strategy.run(partial(rollout.split, self.model, batches, step, done))
        return self.loader.step(split)

    def _filler(self) -> Step:
        return self.loader.step([([self.shortest], False)])

    def _train_step(self, ready: Step) -> None:
        rate = learning_rate(self.state.step, self.total, self.job.settings)
        done = self.update(ready, rate)
        self._count(done)
        self.watch.step(done.loss, done.parts, rate, done.grad_norm, done.work)

    def update(self, ready: Step, rate: float) -> Update:
        """One optimiser step at learning rate `rate`.

        Raises:
            NonFiniteLoss: the weights are as they were.
        """
        step, settings = self.state.step, self.job.settings
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        ready = ready.in_step(self._filler, self.world)
        tokens = self.world.total(count_tokens(ready.batches))
        taken = accumulate(
            self.teaching,
            ready.batches,
            step / self.total,
            ready.views,
            num_tokens=tokens,
            strategy=self.strategy,
        )
        norm = clip_norm(self.parameters, settings.max_grad_norm)
        # The one synchronisation of the step.
        read = torch.stack([taken.loss, norm.float(), *taken.sums.values()])
        own_loss, grad_norm, *values = read.tolist()
        own_sums = dict(zip(taken.sums, values, strict=True))
        own = [own_loss, own_sums, taken.tokens, list(Work.of(ready.rows))]
        loss, sums, counts, work = self.world.total(own)
        _require_finite(loss, grad_norm, step + 1)
        self.optimiser.step()
        means = {name: value / counts[name] for name, value in sums.items()}
        return Update(loss, means, grad_norm, tokens, Work(*work))

    def _count(self, done: Update) -> None:
        state = self.state
        state.step += 1
        state.position += 1
        state.tokens += done.tokens
        state.epoch_nats += done.loss * done.tokens
        state.epoch_tokens += done.tokens
        state.seconds = time.perf_counter() - self._clock

    @property
    def _save_is_due(self) -> bool:
        settings = self.job.settings
        if self.state.step % settings.save_every == 0:
            return True
        if (most := settings.save_minutes) is None:
            return False
        minutes = (time.perf_counter() - self._last_save) / 60
        return self.world.from_main(lambda: minutes >= most)

    @property
    def _validation_is_due(self) -> bool:
        """Within an epoch; its end has one anyway."""
        every, state = self.job.settings.validate_every, self.state
        due = every is not None and state.step % every == 0 and state.judged < state.step
        return due and bool(self.job.validation)

    def _close_epoch(self) -> None:
        """Validation, the choice of the best weights, a checkpoint."""
        state = self.state
        self._judge()
        state.epoch += 1
        self.watch.epoch(state.epoch)
        state.position, state.epoch_nats, state.epoch_tokens = 0, 0.0, 0
        self._save()

    def _judge(self) -> None:
        """Validates the weights as they are; are they the best so far?"""
        state, job = self.state, self.job
        judged = self._validate(job.validation) if job.validation else None
        loss = judged and judged.loss
        best = state.best.validation_loss if state.best else None
        better = loss is None or best is None or loss < best
        if better:
            epoch = round(state.step * job.settings.epochs / self.total, 4)
            state.best = Best(epoch, state.step, state.epoch_loss, loss)
        state.judged = state.step
        state.stale = 0 if better else state.stale + 1
        if judged is not None:
            self.watch.validation(judged.loss, judged.answer_nats, better=better)

    def _validate(self, rows: Sequence[Encoded]) -> Judged:
        """Over `rows`, dropout off."""
        rows = sorted(rows, key=lambda row: len(row))
        size = self.job.settings.batch_size
        scale = 1 / sum(row.targets for row in rows)
        own = deal([rows[i : i + size] for i in range(0, len(rows), size)], self.world)
        batches = [batch for some in own for batch in self.loader.batches(some)]
        even = Step(batches, [None] * len(batches)).in_step(self._filler, self.world)
        losses, nats = [], []
        self.model.eval()
        with torch.no_grad(), self.watch.paused():
            for batch in even.batches:
                self._pause_if_asked()
                share = scale if batch.counts else 0.0
                term = self.strategy.run(partial(self.teaching, batch, share, 1.0))
                cost = self.strategy.run(partial(self.teaching.answer_nats, batch, term))
                losses.append(term.loss.double())
                nats.append(cost.double() * float(batch.counts))
        self.model.train()
        sums = torch.stack([torch.stack(losses).sum(), torch.stack(nats).sum()]).tolist()
        loss, cost_of_all = self.world.total(sums)
        _require_finite(loss, 0.0, self.state.step)
        return Judged(loss, cost_of_all / len(rows))

    def _pause_if_asked(self) -> None:
        if self.world.any(self._interrupted.asked):
            self.report(0, 0, f"told to stop: saves a checkpoint of step {self.state.step}")
            self._save()
            raise KeyboardInterrupt

    def _save(self) -> None:
        """The metrics first: a checkpoint never knows of a step that they lack."""
        at = (self.state.step, self.state.judged)
        if at == self._saved:
            return
        with self.watch.paused():
            self.state.seconds = time.perf_counter() - self._clock
            self.watch.sync()
            self.checkpoints.save(self.state, self.snapshot)
        self._saved = at
        self._last_save = time.perf_counter()

    def _take_best(self) -> None:
        best = self.state.best
        if best is not None and best.step != self.state.step:
            self.checkpoints.restore_weights(self.snapshot, best.step)

    def student(self, load: Callable[[], Any]) -> Any:
        """The trained student as one model: itself, or, where this process has a share of it, what
        `load` makes with the weights that are in the checkpoints."""
        if not self.strategy.sharded:
            return self.model
        assert self.state.best is not None
        self.optimiser.state.clear()
        model = load()
        snapshot = Snapshot(_learner(model, self.teaching.trained), self.optimiser)
        alone = Checkpoints(self.checkpoints.folder, self.job.fingerprint)
        alone.restore_weights(snapshot, self.state.best.step)
        return model


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
