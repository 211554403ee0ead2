"""The teacher behind the student: asked through stage 1's own door, on the server's own account.

What it is asked and how is what stage 1 of the same job would do, so the next round finds these
answers in the store and pays for none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.config import BudgetConfig, Config, TeacherConfig
from mwalimu.config.routing import resolve
from mwalimu.data.chat import BadValue, check_messages
from mwalimu.data.formats.chat_rows import read_messages
from mwalimu.data.record import Message, Record
from mwalimu.errors import TeacherError, TeacherUnreachable
from mwalimu.synthesis.answer import Member, Row, answer_once, first_request
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.masking import build_asker
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.store import AnswerStore
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Sampling, Teacher
from mwalimu.teachers.factory import build_teacher
from mwalimu.telemetry import context

ACCOUNT = b"serve".hex()
"""On which a traffic folder's own store counts what was spent, over all lives of the server."""

OWN = "teacher"
"""The word for the run's own teacher."""


def asked_as(config: Config, fallback: str, max_usd: float | None) -> Config:
    """The run's config, for one teacher that answers one question at a time.

    `fallback` is `teacher`, for the run's own, or the name of another, asked in the same way.

    Raises:
        ConfigError: the registry knows the name but not how it is to be reached.
    """
    generate = {"samples": 1, "conversation": "last", "rationale": "drop", "user_model": None}
    return config.model_copy(
        update={
            "teacher": _teacher(config.teacher, fallback).model_copy(update={"mode": "online"}),
            "ensemble": None,
            "judge": None,
            "generate": config.generate.model_copy(update=generate),
            "budget": BudgetConfig(usd=max_usd),
        }
    )


def _teacher(own: TeacherConfig, fallback: str) -> TeacherConfig:
    if fallback in (OWN, own.model):
        return own
    same = own.model_dump(include={"temperature", "top_p", "max_tokens", "stop"})
    return resolve(TeacherConfig(model=fallback, **same), key="--fallback")


@dataclass(frozen=True, slots=True)
class Question:
    """A client's conversation; `key` is the content address of the answer."""

    key: str
    record: Record


class Fallback:
    """An open teacher with its store and its budget."""

    def __init__(self, config: Config, make: Callable[[], Member]) -> None:
        self.config = config
        self.make = make
        self.member = make()
        self.prompting = Prompting(config.generate, config.task)

    @property
    def model(self) -> str:
        """What a client is told: not the place that it is asked at."""
        return self.config.teacher.model

    @property
    def spent_usd(self) -> float:
        return self.member.asker.budget.spent[0] / 1e9

    def question(self, messages: Sequence[Mapping[str, Any]]) -> Question | None:
        """None for what a teacher cannot be asked: pictures, a conversation out of order."""
        try:
            chat = tuple(check_messages(read_messages({"messages": list(messages)})["messages"]))
        except BadValue:
            return None
        return self._question(chat) if chat[-1].role != "assistant" else None

    def _question(self, chat: tuple[Message, ...]) -> Question:
        record = Record("", self.config.task, chat)
        key = first_request(record, 0, self.member, self.prompting).key
        return Question(key, Record(f"traffic-{key[:32]}", self.config.task, chat))

    async def answer(self, question: Question) -> Outcome:
        """What became of it; never bought where it is in the store.

        Raises:
            BudgetReached: a cap would be exceeded; nothing was sent.
            TeacherError: the teacher cannot be had.
            DiskFull: the store cannot be written.
        """
        row = Row(question.record, 0, lambda asker, request: asker.ask(request))
        try:
            with context.bound(row=question.record.id):
                return await answer_once(row, self.member, self.prompting)
        except TeacherUnreachable:
            raise
        except TeacherError:
            # Such an asker asks nothing more; a job ends then, but a server lives on, and a key
            # or an account may be mended meanwhile.
            self.member = self.make()
            raise

    def usd(self, outcome: Outcome) -> float | None:
        """What an answer cost now; None where its price is unknown."""
        if outcome.reused or outcome.completion is None:
            return 0.0
        nano = self.member.asker.prices.nano_usd(outcome.completion.usage)
        return None if nano is None else nano / 1e9


@asynccontextmanager
async def open_fallback(
    config: Config, store: Path, note: Callable[[str], None], teacher: Teacher | None = None
) -> AsyncIterator[Fallback]:
    """`config` as of `asked_as`; `teacher` stands in for the one that it names.

    A teacher that is away now may be back later: the server starts without it.

    Raises:
        ConfigError: a cap in dollars, and a teacher of unknown price.
        TeacherError: the key or the name is wrong.
        RunError: another server uses the store.
    """
    settings = config.teacher
    async with AsyncExitStack() as stack:
        answers = stack.enter_context(AnswerStore(store, ACCOUNT))
        durability = Durability(answers)
        stack.push_async_callback(durability.close)
        budget = Budget(config.budget, answers.spend())
        budget.require_prices([settings])
        asked = teacher or build_teacher(settings)
        stack.push_async_callback(asked.close)
        try:
            await asked.check()
        except TeacherUnreachable as error:
            note(f"{error.what}; the student answers alone until it is back")

        def member() -> Member:
            asker = build_asker(config, asked, settings, durability, budget)
            return Member(asker, settings, Sampling.of(settings, config.seed))

        yield Fallback(config, member)
