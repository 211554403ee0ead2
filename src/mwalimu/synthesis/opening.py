"""A job's teachers opened and checked from its config, and how they are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from mwalimu.config import Config, TeacherConfig, needed_signals
from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Answerer, Member, answer_once
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.conversation import relabel, require_suited, simulate
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.engine import Program
from mwalimu.synthesis.ensemble import build_ensemble
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.masking import build_asker
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.store import AnswerStore
from mwalimu.teachers.base import Sampling, Teacher
from mwalimu.teachers.factory import Build, build_teacher

MOST_DENSE = 4096
"""Tokens of a vocabulary whose whole distribution is kept beside an answer, 2 bytes each."""


class FromConfig:
    """One teacher or an ensemble, for single answers or conversations, as the job's config says."""

    def answerer(self, job: Job) -> Answerer:
        if job.config.ensemble is not None:
            return build_ensemble(job)
        return partial(answer_once, member=job.members[0], prompting=job.prompting)

    def program(self, job: Job) -> Program:
        settings = job.config.generate
        if settings.conversation == "last":
            return job.answerer
        require_suited(job.config)
        if settings.conversation == "relabel":
            return partial(relabel, answerer=job.answerer)
        user = job.user or job.members[0]
        return partial(simulate, answerer=job.answerer, user=user, turns=settings.turns)


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
        job = Job(
            config, store, durability, Budget(config.budget, store.spend()), prompting, FromConfig()
        )
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
