"""The student answers; what it doubts is handed on to the teacher, inside a cap of money.

Nothing that goes wrong with the teacher reaches the client: the student's answer stays, `counts`
has the reason, and the log one line a minute.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mwalimu.config import Config
from mwalimu.data.traffic import ANSWERS
from mwalimu.errors import BudgetReached, ConfigError, TeacherError
from mwalimu.serving.cascade_contract import Escalated
from mwalimu.serving.completion import Completion
from mwalimu.serving.confidence import confidence
from mwalimu.serving.fallback import Fallback, Question, asked_as, open_fallback
from mwalimu.serving.traffic import TrafficLog
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Teacher

REST_S = 15.0  # without a new question, after the teacher was not there in time
MOST_WAITING = 256  # questions at once
NOTE_EVERY_S = 60.0  # of the same reason

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CascadeOptions:
    """`below` is the confidence (0..1) from which the student's answer stays.

    `keep` is the share of the other questions that is kept in the traffic folder too: without
    them the next round would learn what was doubted alone.
    """

    below: float
    fallback: str = "teacher"
    max_usd: float | None = None
    timeout_s: float = 20.0
    traffic: Path | None = None
    keep: float = 0.0


@asynccontextmanager
async def open_cascade(
    config: Config, options: CascadeOptions, note: Note, teacher: Teacher | None = None
) -> AsyncIterator[TeacherCascade]:
    """`config` is the run's; `note` gets lines for the log; `teacher` stands in for the config's.

    Without a traffic folder nothing is kept: neither question nor answer outlives the server, and
    the cap counts from its start.

    Raises:
        ConfigError: the options contradict each other.
        ConfigError, TeacherError, RunError: as `open_fallback` and `TrafficLog`.
    """
    _check(options)
    asked = asked_as(config, options.fallback, options.max_usd)
    async with AsyncExitStack() as stack:
        if options.traffic is None:
            folder, log = Path(stack.enter_context(TemporaryDirectory(prefix="mwalimu-"))), None
        else:
            folder = options.traffic
            log = await stack.enter_async_context(TrafficLog(folder, note))
        fallback = await stack.enter_async_context(
            open_fallback(asked, folder / ANSWERS, note, teacher)
        )
        cascade = TeacherCascade(fallback, options, log, note)
        stack.push_async_callback(cascade.close)
        yield cascade


class TeacherCascade:
    """A `Cascade`. `counts` says what became of each answer it saw, by name; "not kept" counts
    questions that the disk did not take.
    """

    def __init__(
        self, fallback: Fallback, options: CascadeOptions, log: TrafficLog | None, note: Note
    ) -> None:
        self.fallback = fallback
        self.options = options
        self.log = log
        self.note = note
        self.counts: Counter[str] = Counter()
        self._flights: dict[str, asyncio.Task[Outcome | str]] = {}
        self._noted: dict[str, float] = {}
        self._rest_until = 0.0

    async def second(
        self, messages: Sequence[Mapping[str, Any]], student: Completion, *, max_tokens: int
    ) -> Escalated | None:
        """See `Cascade`. An answer that needs more than `max_tokens` is not sent."""
        sure = confidence(student)
        if sure >= self.options.below:
            self.counts["confident"] += 1
            self._sample(messages, student, sure)
            return None
        question = self.fallback.question(messages)
        found = "not text" if question is None else await self._asked(question, student, sure)
        if not isinstance(found, str) and _length(found) > max_tokens:
            found = "too long"
        if isinstance(found, str):
            self.counts[found] += 1
            self._note_once(found)
            return None
        self.counts["escalated"] += 1
        return Escalated(found.text, "stop", self.fallback.usd(found), self.fallback.model)

    @property
    def spent_usd(self) -> float:
        """Of all lives of the server on its traffic folder; an unknown price counts as nothing."""
        return self.fallback.spent_usd

    async def close(self) -> None:
        """Questions on their way are given up; what they may cost is in the store's journal."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _asked(self, question: Question, student: Completion, sure: float) -> Outcome | str:
        """The accepted answer, or the reason why there is none.

        One question on its way serves all who ask it. Who stops waiting does not stop it: the
        answer is paid for, and next time it is there.
        """
        flight = self._flights.get(question.key)
        started = flight is None
        if flight is None:
            if _now() < self._rest_until:
                return "resting"
            if len(self._flights) >= MOST_WAITING:
                return "busy"
            flight = asyncio.create_task(self._flight(question, student, sure))
            self._flights[question.key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(question.key))
        done, _ = await asyncio.wait([flight], timeout=self.options.timeout_s)
        if not done:
            self._rest()
            return "timeout"
        found = "stopped" if flight.cancelled() else flight.result()
        # It was paid for once, by who asked first.
        return found if started or isinstance(found, str) else replace(found, reused=True)

    async def _flight(self, question: Question, student: Completion, sure: float) -> Outcome | str:
        try:
            outcome = await self.fallback.answer(question)
        except BudgetReached:
            return "cap"
        except TeacherError as error:
            self._rest()
            return self._told("unreachable", error)
        except (OSError, sqlite3.Error) as error:
            return self._told("disk", error)
        except Exception as error:  # whatever it is, the client has the student's answer
            return self._told("failed", error)
        if outcome.status != "ok":
            self._note_once(outcome.status, f" ({outcome.reason})")
            return outcome.status
        if not outcome.text:
            return "invalid"  # calls of tools that it was not offered
        self._rest_until = 0.0
        self._keep(question, student, sure, outcome)
        return outcome

    def _sample(
        self, messages: Sequence[Mapping[str, Any]], student: Completion, sure: float
    ) -> None:
        if self.log is None or not self.options.keep:
            return
        question = self.fallback.question(messages)
        if question is not None and _drawn(question, self.options.keep):
            self._keep(question, student, sure, None)

    def _keep(
        self, question: Question, student: Completion, sure: float, outcome: Outcome | None
    ) -> None:
        if self.log is None:
            return
        row = question.record.to_json() | {
            "metadata": {
                "source": "kept" if outcome is None else "escalated",
                "confidence": sure,
                "probability": self.options.keep if outcome is None else 1.0,
            },
            "student": student.text,
            "teacher": None if outcome is None else outcome.text,
            "model": None if outcome is None else self.fallback.model,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            self.log.write(row)
        except (OSError, sqlite3.Error) as error:
            self.counts["not kept"] += 1
            self._told("not kept", error)

    def _rest(self) -> None:
        self._rest_until = _now() + REST_S

    def _told(self, reason: str, error: Exception) -> str:
        self._note_once(reason, f" ({error})")
        return reason

    def _note_once(self, reason: str, detail: str = "") -> None:
        now = _now()
        if now - self._noted.get(reason, -NOTE_EVERY_S) >= NOTE_EVERY_S:
            self._noted[reason] = now
            self.note(f"the student's answer stays: {reason}{detail}")


def _check(options: CascadeOptions) -> None:
    if options.keep and options.traffic is None:
        raise ConfigError("has no place to go", where="--keep", fix="name a folder with --traffic")
    if not 0 <= options.keep <= 1:
        raise ConfigError(f"{options.keep} is no share", where="--keep", fix="name one in 0..1")
    if options.max_usd is not None and options.max_usd <= 0:
        raise ConfigError("allows nothing", where="--max-usd", fix="leave out --fallback instead")
    if options.timeout_s <= 0:
        raise ConfigError("allows no answer", where="--fallback-timeout", fix="name some seconds")


def _drawn(question: Question, share: float) -> bool:
    """By the question alone: one that is asked again is not drawn again."""
    return int(question.key[-13:], 16) < share * 16**13


def _length(outcome: Outcome) -> int:
    return 0 if outcome.completion is None else outcome.completion.usage.completion_tokens


def _now() -> float:
    return asyncio.get_running_loop().time()
