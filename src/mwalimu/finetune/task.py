"""One student's way: loaded, its rows encoded, trained, published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.data.loading import causal_lm_of
from mwalimu.data.quantised import parameter_count
from mwalimu.errors import StudentError
from mwalimu.finetune.execution import packings_of
from mwalimu.finetune.metrics import read_metrics
from mwalimu.finetune.mixture import mixture_of
from mwalimu.finetune.on_policy import Rollout
from mwalimu.finetune.parallel.frozen import load_teacher
from mwalimu.finetune.parallel.world import ALONE, World
from mwalimu.finetune.planning import plan_memory
from mwalimu.finetune.rows import Rows, encode_splits
from mwalimu.finetune.state import TrainState
from mwalimu.finetune.student import autocast_wanted, load_student, save_student
from mwalimu.finetune.student.fake_quantised import Roundings, fake_quantise, unrounded
from mwalimu.finetune.student.parts import says_of_tied
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import TeacherSource
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.teaching import TEXT_ALONE
from mwalimu.finetune.trainer import Job, Trainer

MAX_LENGTH = 2048  # tokens of a row, where the config sets nothing


@dataclass(frozen=True, slots=True)
class Task:
    """One student's way from rows to its folder; `fingerprint` names all its result depends on.

    With `roundings` it learns under them, and is published without.
    """

    student: StudentConfig
    settings: FinetuneConfig
    seed: int
    fingerprint: str
    folder: Path
    report: Callable[[int, int, str], None]
    white_box: WhiteBox | None
    world: World = ALONE
    roundings: Roundings | None = None

    def execute(self, rows: Rows, validation: Rows) -> dict[str, Any]:
        """Trains and publishes; returns the summary."""
        with self.trainer(rows, validation) as (trainer, tokenizer):
            sizes = _count_parameters(trainer.model)
            before = self._before(trainer)
            state = trainer.fit()
        merge = self.world.from_main(partial(self._publish, trainer, tokenizer))
        self._say_done(state, trainer.stopped_early)
        facts = _summary(state, trainer.stopped_early) | before | sizes | merge
        facts |= _count_rows(trainer.job)
        return facts | {"warnings": _warnings(self.folder / "metrics.jsonl")}

    def _publish(self, trainer: Trainer, tokenizer: Any) -> dict[str, Any]:
        model = trainer.student(self._loaded)
        unrounded(model)
        some = [row.ids for row in trainer.job.train]
        return save_student(model, tokenizer, self.folder / "student", self.student, some)

    def _before(self, trainer: Trainer) -> dict[str, float]:
        """What rounding alone does to the validation loss."""
        if self.roundings is None or not trainer.job.validation:
            return {}
        return {"validation_loss_before": trainer.validation_loss()}

    def _loaded(self) -> Any:
        model, _ = load_student(self.student, seed=self.seed)
        self._round(model)
        return model

    def _round(self, model: Any) -> None:
        if self.roundings is not None:
            fake_quantise(model, self.roundings(model))

    @contextmanager
    def trainer(self, rows: Rows, validation: Rows) -> Iterator[tuple[Trainer, Any]]:
        """What trains the student, ready to begin, and the student's tokenizer."""
        self.report(0, 1, "loads the student")
        model, tokenizer = load_student(self.student, seed=self.seed)
        if note := says_of_tied(model, (*self.student.freeze, *self.student.unfreeze)):
            self.report(0, 0, note)
        job = self._job(model, tokenizer, rows, validation)
        self._round(model)
        with nullcontext() if job.source is None else closing(job.source):
            yield Trainer(model, job, self.folder, self.report, self.world), tokenizer

    def _job(self, model: Any, tokenizer: Any, rows: Rows, validation: Rows) -> Job:
        self.report(0, 1, "encodes the rows")
        length = _max_length(model, self.student)
        train, held_out = encode_splits(tokenizer, rows, validation, length, self.world)
        source = self._source(model, tokenizer, [*rows, *validation])
        memory = plan_memory(
            model,
            self.student,
            self.settings,
            train,
            source,
            self.world,
            partial(self.report, 0, 0),
            validates=bool(held_out),
        )
        return Job(
            settings=self.settings if memory is None else memory.finetune,
            train=train,
            validation=held_out,
            pad_id=tokenizer.pad_token_id,
            seed=self.seed,
            fingerprint=self.fingerprint,
            autocast=autocast_wanted(self.student),
            parts=self.settings.objective or TEXT_ALONE,
            source=source,
            rollout=self._rollout(tokenizer, length),
            memory=memory,
            mixture=mixture_of(self.settings.mixture, rows),
        )

    def _rollout(self, tokenizer: Any, length: int) -> Rollout | None:
        settings = self.settings.on_policy
        if settings is None or self.white_box is None:
            return None
        return Rollout.of(settings, tokenizer, length, self.seed + self.world.rank)

    def _source(self, model: Any, tokenizer: Any, rows: Rows) -> TeacherSource | None:
        if self.white_box is None:
            return None
        return self.white_box.source(
            self.settings.objective,
            JobRows.of(tokenizer, rows),
            model.device,
            autocast=autocast_wanted(self.student),
            packings=packings_of(self.settings, model.device),
            load=partial(load_teacher, wanted=self.settings.parallel, world=self.world),
        )

    def _say_done(self, state: TrainState, stopped_early: bool) -> None:
        assert state.best is not None
        why = "stopped early, " if stopped_early else ""
        which = f"epoch {state.best.epoch:g} (step {state.best.step})"
        self.report(state.step, state.step, f"{why}{which} is published")


def _max_length(model: Any, student: StudentConfig) -> int:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    wanted = student.max_length
    if wanted is None:
        return min(MAX_LENGTH, context or MAX_LENGTH)
    if context is not None and wanted > context:
        raise StudentError(
            f"student.max_length is {wanted}, the model has {context} positions",
            where=student.model,
            fix=f"set student.max_length to {context} or less, or leave it out",
        )
    return wanted


def _count_parameters(model: Any) -> dict[str, int]:
    """Of the published model: an adapter is merged, and adds nothing."""
    base = causal_lm_of(model)
    added = sum(p.numel() for name, p in base.named_parameters() if ".lora_" in name)
    total = parameter_count(base)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"parameters": total - added, "trained_parameters": trained}


def _count_rows(job: Job) -> dict[str, int]:
    return {"truncated_rows": sum(row.truncated for row in job.train)}


def _summary(state: TrainState, stopped_early: bool) -> dict[str, Any]:
    assert state.best is not None
    return {
        "steps": state.step,
        "epochs": state.epoch,
        "best_epoch": state.best.epoch,
        "best_step": state.best.step,
        "train_loss": state.best.train_loss,
        "validation_loss": state.best.validation_loss,
        "target_tokens": state.tokens,
        "seconds": round(state.seconds, 1),
        "stopped_early": stopped_early,
    }


def _warnings(metrics: Path) -> list[str]:
    return [line["text"] for line in read_metrics(metrics) if "event" in line]
