"""One answer to one row: asked, judged, asked once more with more room where it was cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message, Record, value_class
from mwalimu.synthesis.ask import Answer, Asker
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.verdict import Outcome, Status, judge, judge_text
from mwalimu.teachers.base import Completion, Request, Sampling

Answerer = Callable[..., Awaitable[Outcome]]
"""(row, messages=...) -> the outcome of one answer; `messages` replaces the row's own."""


@dataclass(frozen=True, slots=True)
class Member:
    """A teacher of the job and how it is asked."""

    asker: Asker
    config: TeacherConfig
    sampling: Sampling

    @property
    def name(self) -> str:
        return self.asker.teacher.info.model

    def judge(self, completion: Completion, max_tokens: int) -> tuple[Status, str]:
        """How the answer ended. A local teacher is believed about where it stopped: it counts the
        ending token.
        """
        local = self.asker.teacher.info.kind in ("local", "vllm")
        return judge(completion, max_tokens + local)

    def request(self, messages: tuple[Message, ...], record: Record, *, sample: int = 0) -> Request:
        return Request(self.name, messages, self.sampling, sample, record.tools)


@value_class
class Row:
    """A record's sample on its way; `ask` is the only door to the teachers."""

    record: Record
    sample: int
    ask: Callable[[Asker, Request], Awaitable[Answer]]


async def answer_once(
    row: Row,
    member: Member,
    prompting: Prompting,
    *,
    messages: tuple[Message, ...] | None = None,
    sample: int | None = None,
) -> Outcome:
    """What `member` makes of the row.

    `messages` replaces the row's own conversation; `sample` the row's own number of the draw.
    """
    record = row.record
    number = row.sample if sample is None else sample
    request = first_request(record, number, member, prompting, messages=messages)
    answer = await row.ask(member.asker, request)
    outcome = _outcome(record, answer, request, prompting, member)
    factor = prompting.settings.longer_once
    if outcome.status == "truncated" and factor > 1:
        # Never the same question again: it would be cut at the same place, and paid again.
        longer = replace(request.sampling, max_tokens=int(request.sampling.max_tokens * factor))
        request = replace(request, sampling=longer)
        answer = await row.ask(member.asker, request)
        outcome = _outcome(record, answer, request, prompting, member)
    return outcome


def first_request(
    record: Record,
    sample: int,
    member: Member,
    prompting: Prompting,
    *,
    messages: tuple[Message, ...] | None = None,
) -> Request:
    """What `answer_once` asks first; whoever buys answers ahead has to ask for this very thing."""
    question = prompting.question(record, record.messages if messages is None else messages)
    request = member.request(question, record, sample=sample)
    return request if prompting.schema is None else replace(request, schema=prompting.schema)


def _outcome(
    record: Record, answer: Answer, request: Request, prompting: Prompting, member: Member
) -> Outcome:
    completion = answer.completion
    if completion is None:
        return Outcome(
            record, "failed", answer.reason, request_key=answer.key, reused=answer.reused
        )
    status, reason = member.judge(completion, request.sampling.max_tokens)
    outcome = Outcome(
        record,
        status,
        reason,
        completion.text,
        completion=completion,
        request_key=answer.key,
        reused=answer.reused,
    )
    return _read(outcome, completion, prompting) if status == "ok" else outcome


def _read(outcome: Outcome, completion: Completion, prompting: Prompting) -> Outcome:
    if completion.tool_calls:
        problem = _unoffered(outcome.record, completion)
        return replace(outcome, status="invalid", reason=problem) if problem else outcome
    reading = prompting.read(outcome.record, completion)
    status: Status = "invalid"
    reason = reading.problem
    if not reason:
        status, reason = judge_text(outcome.record.task, reading.answer)
    if status != "ok":
        return replace(outcome, status=status, reason=reason)
    if reading.target == outcome.text and not reading.rationale:
        return outcome
    return replace(outcome, text=reading.target, rationale=reading.rationale)


def _unoffered(record: Record, completion: Completion) -> str:
    """What is wrong with a call of a tool that the row does not have; "" if nothing is."""
    offered = {tool.get("function", tool).get("name") for tool in record.tools}
    called = {str(call.get("function", call).get("name")) for call in completion.tool_calls}
    unknown = sorted(called - offered)
    return f"the answer calls {unknown[0]}, which the row does not offer" if unknown else ""
