"""A job: who is asked, in which way, on whose account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from mwalimu.config import Config
from mwalimu.data.record import Record
from mwalimu.synthesis.answer import Answerer, Member
from mwalimu.synthesis.ask import Asker
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.engine import Engine, Program
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.store import AnswerStore
from mwalimu.telemetry.setting_up import is_on


class Assembly(Protocol):
    """How the teachers of a job, and of any variant of it, are put together."""

    def answerer(self, job: Job) -> Answerer: ...

    def program(self, job: Job) -> Program: ...


@dataclass
class Job:
    """`members` are the teachers that answer, in the config's order; `askers` all that are paid."""

    config: Config
    store: AnswerStore
    durability: Durability
    budget: Budget
    prompting: Prompting
    assembly: Assembly
    members: list[Member] = field(default_factory=list)
    judge: Member | None = None
    user: Member | None = None
    askers: dict[tuple[str | None, ...], Asker] = field(default_factory=dict)

    @cached_property
    def answerer(self) -> Answerer:
        """How one answer is got: from one teacher, or from several."""
        return self.assembly.answerer(self)

    def engine(self, program: Program | None = None) -> Engine:
        """For the job's own program, or another one over its teachers."""
        teachers = [asker.teacher for asker in self.askers.values()]
        return _engine_kind()(
            program or self.assembly.program(self),
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


def _engine_kind() -> type[Engine]:
    if not is_on():
        return Engine
    from mwalimu.synthesis.observing import ObservedEngine

    return ObservedEngine
