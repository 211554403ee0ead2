"""A job's teachers put together from its config: who is asked, in which way, on whose account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mwalimu.config import Config, TeacherConfig, needed_signals
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Answerer, Member, Row, answer_once
from mwalimu.synthesis.ask import Asker
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.engine import Engine, Program
from mwalimu.synthesis.masking import build_asker
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.store import AnswerStore
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Sampling, Teacher
from mwalimu.teachers.factory import Build, build_teacher
from mwalimu.telemetry.setting_up import is_on

MOST_DENSE = 4096
"""Tokens of a vocabulary whose whole distribution is kept beside an answer, 2 bytes each."""


@dataclass
class Job:
    """`members` are the teachers that answer, in the config's order; `askers` all that are paid."""

    config: Config
    store: AnswerStore
    durability: Durability
    budget: Budget
    prompting: Prompting
    members: list[Member] = field(default_factory=list)
    judge: Member | None = None
    user: Member | None = None
    askers: dict[tuple[str | None, ...], Asker] = field(default_factory=dict)

    @cached_property
    def answerer(self) -> Answerer:
        """How one answer is got: from one teacher, or from several."""
        if self.config.ensemble is not None:
            from mwalimu.synthesis.ensemble import build_ensemble

            return build_ensemble(self)
        return partial(answer_once, member=self.members[0], prompting=self.prompting)

    def engine(self, program: Program | None = None) -> Engine:
        """For the job's own program, or another one over its teachers."""
        teachers = [asker.teacher for asker in self.askers.values()]
        return _engine_kind()(
            program or self._program(),
            self.durability,
            max(one.batch_size for one in teachers),
            max((one.concurrency for one in teachers if one.batch_size > 1), default=1),
        )

    async def prepare(self, validation: Iterable[Record]) -> None:
        """What an ensemble has to find out before the first row."""
        if (prepare := getattr(self.answerer, "prepare", None)) is not None:
            await prepare(validation)

    def notes(self) -> dict[str, Any] | None:
        """What an ensemble has to tell in the ledger."""
        notes = getattr(self.answerer, "notes", None)
        return None if notes is None else notes()

    def _program(self) -> Callable[[Row], Awaitable[Outcome]]:
        answerer = self.answerer
        if self.config.generate.conversation == "last":
            return answerer
        from mwalimu.synthesis.conversation import relabel, require_suited, simulate

        require_suited(self.config)
        if self.config.generate.conversation == "relabel":
            return partial(relabel, answerer=answerer)
        return partial(
            simulate,
            answerer=answerer,
            user=self.user or self.members[0],
            turns=self.config.generate.turns,
        )


def _engine_kind() -> type[Engine]:
    if not is_on():
        return Engine
    from mwalimu.synthesis.observing import ObservedEngine

    return ObservedEngine


@asynccontextmanager
async def open_job(
    config: Config,
    folder: Path,
    run_id: str,
    teacher: Teacher | None = None,
    *,
    build: Build | None = None,
    keeps_signals: bool = False,
) -> AsyncIterator[Job]:
    """The store, the budget and every teacher, checked and ready; closed at the end.

    `teacher` stands in for the one that the config names, `build` for how all are built. With
    `keeps_signals` a local teacher keeps of its distribution what the objective will need.
    """
    prompting = Prompting(config.generate, config.task)
    _check_settings(config)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(AnswerStore(folder, run_id))
        durability = Durability(store)
        stack.push_async_callback(durability.close)
        job = Job(config, store, durability, Budget(config.budget, store.spend()), prompting)
        open_member = partial(_member, job, stack, build or build_teacher)
        job.budget.require_prices(config.teachers())
        teachers = [config.teacher, *(config.ensemble.others if config.ensemble else ())]
        for number, settings in enumerate(teachers):
            given = teacher if number == 0 else None
            job.members.append(await open_member(settings, given))
        if keeps_signals:
            job.members[0] = _keeping(job.members[0], config)
        if config.ensemble and config.ensemble.judge:
            job.judge = await open_member(config.ensemble.judge)
        if config.generate.user_model:
            job.user = await open_member(config.generate.user_model)
        yield job


async def _member(
    job: Job,
    stack: AsyncExitStack,
    build: Build,
    settings: TeacherConfig,
    given: Teacher | None = None,
) -> Member:
    """The teacher of `settings`; one server's model has one limiter, whoever asks it."""
    place = (settings.resolved_kind, settings.model, settings.base_url, settings.deployment)
    if place not in job.askers:
        teacher = given or build(settings)
        stack.push_async_callback(teacher.close)
        await teacher.check()
        job.askers[place] = build_asker(job.config, teacher, settings, job.durability, job.budget)
    _check_capabilities(job.askers[place].teacher, settings, job)
    return Member(job.askers[place], settings, Sampling.of(settings, job.config.seed))


def _keeping(member: Member, config: Config) -> Member:
    """Beside its answers, where these are what is learned, token by token, and where no pass of its
    own is needed anyway: hidden states are not kept.
    """
    settings = config.generate
    several = config.ensemble is not None or settings.conversation != "last"
    rewritten = settings.chain_of_thought or settings.chain_of_density
    local = member.asker.teacher.info.kind == "local"
    if not local or several or rewritten or "hidden" in needed_signals(config):
        return member
    from mwalimu.data.kept import Kept

    kept = Kept.of(config)
    large = "dense" in kept.encodings and not 0 < kept.vocabulary <= MOST_DENSE
    if large or not kept.encodings:
        return member
    return replace(member, sampling=replace(member.sampling, kept=kept))


def _check_settings(config: Config) -> None:
    if config.generate.samples > 1 and config.teacher.temperature == 0:
        raise ConfigError(
            "several answers at teacher.temperature 0 would all be the same",
            where="generate.samples",
            fix="set teacher.temperature, say to 0.7",
        )


def _check_capabilities(teacher: Teacher, settings: TeacherConfig, job: Job) -> None:
    """What the job needs and the teacher lacks fails before the first call."""
    able = teacher.capabilities
    if settings.top_logprobs > able.top_logprobs:
        raise ConfigError(
            f"{teacher.info.model} reports at most {able.top_logprobs} alternatives a token",
            where="teacher.top_logprobs",
            fix=f"set it to {able.top_logprobs}",
        )
    if job.prompting.schema is not None and not able.schema:
        raise ConfigError(
            f"{teacher.info.model} cannot be held to a schema",
            where="generate.json_schema",
            fix="drop it, or use a served teacher",
        )
