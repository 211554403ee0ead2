"""What becomes of every request and every row, for those who watch; put around teachers and
programs when somebody does, so that it costs nothing when nobody does.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
from dataclasses import replace
from typing import Any

from mwalimu.errors import TeacherError
from mwalimu.synthesis.answer import Row
from mwalimu.synthesis.ask import NO_MEANING, Answer, Asker
from mwalimu.synthesis.engine import Engine, Item, Program
from mwalimu.synthesis.metrics import count_row, latency
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Completion, Reply, Request, RowError, Teacher, TransientError
from mwalimu.telemetry import context, logs, tracing

PROVIDERS = {"openai_compatible": "openai", "azure": "azure.ai.openai"}
"""Our kinds -> gen_ai.provider.name of the semantic conventions; others are told as they are."""

_rows: dict[str, str] = {}
"""Request key -> the row that waits for its answer: a batch is sent in no row's own task."""


class ObservedTeacher:
    """A teacher whose every sending is a log line, a span and a latency."""

    def __init__(self, teacher: Teacher) -> None:
        self.unobserved = teacher
        self._attempts: Counter[str] = Counter()
        self._seconds = latency(teacher.info.model)

    @property
    def twin(self) -> Teacher:
        """Who is asked from this process: see `teachers.batch.build`."""
        twin: Teacher = getattr(self.unobserved, "twin", self.unobserved)
        return twin

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unobserved, name)

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        began = time.perf_counter()
        with ExitStack() as stack:
            if len(requests) == 1:
                stack.enter_context(context.bound(request=requests[0].key))
            spans = [stack.enter_context(self._span(request)) for request in requests]
            try:
                replies = await self.unobserved.send(requests)
            except BaseException as error:
                status, reason, said = ending_of(error)
                for request, span in zip(requests, spans, strict=True):
                    self._tell(request, status, began, reason=reason, answer=said)
                    span.failed(status)
                if not isinstance(error, TransientError):
                    self._forget(requests)
                raise
            self._seconds(time.perf_counter() - began)
            if logs.is_on() or tracing.is_on():
                for request, reply, span in zip(requests, replies, spans, strict=True):
                    self._answered(request, reply, span, began)
            self._forget(requests)
            return replies

    def _answered(self, request: Request, reply: Reply, span: tracing.Span, began: float) -> None:
        try:
            completion: Completion | None = self.unobserved.parse(reply.raw)
        except NO_MEANING as error:
            self._tell(request, "no meaning", began, reason=type(error).__name__)
            span.failed("no meaning")
            return
        assert completion is not None
        usage = completion.usage
        self._tell(
            request,
            "answered",
            began,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            answer=completion.text if logs.shows_text() else None,
        )
        span.set(
            gen_ai__response__model=completion.model,
            gen_ai__response__finish_reasons=[completion.finish_reason],
            gen_ai__usage__input_tokens=usage.prompt_tokens,
            gen_ai__usage__output_tokens=usage.completion_tokens,
        )

    def _tell(self, request: Request, status: str, began: float, **more: Any) -> None:
        prompt = None
        if logs.shows_text():
            prompt = [message.to_json() for message in request.messages]
        logs.say(
            "request",
            teacher=self.unobserved.info.model,
            request=request.key,
            row=_rows.get(request.key, context.field("row")),
            attempt=self._attempts[request.key],
            status=status,
            latency_s=round(time.perf_counter() - began, 6),
            prompt=prompt,
            **more,
        )

    def _span(self, request: Request) -> AbstractContextManager[tracing.Span]:
        self._attempts[request.key] += 1
        if not tracing.is_on():
            return nullcontext(tracing.NO_SPAN)
        kind, sampling = self.unobserved.info.kind, request.sampling
        name = request.model.partition("@")[0]
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(kind, kind),
            "gen_ai.request.model": name,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "gen_ai.request.seed": sampling.seed,
            "mwalimu.request": request.key,
            "mwalimu.row": _rows.get(request.key, context.field("row")),
            "mwalimu.attempt": self._attempts[request.key],
        }
        return tracing.span(f"chat {name}", attributes, kind="client")

    def _forget(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._attempts.pop(request.key, None)


def ending_of(error: BaseException) -> tuple[str, str | None, str | None]:
    """(a word for how a sending ended, why, what may hold a server's own words)."""
    if isinstance(error, TransientError):  # never in a server's words
        if error.rate_limited:
            return "rate limited", error.reason, None
        if error.overloaded:
            return "overloaded", error.reason, None
        return "unreachable" if error.unreachable else "failed", error.reason, None
    if isinstance(error, RowError):
        return "refused", str(error).partition(":")[0], str(error)
    if isinstance(error, TeacherError):
        return "stopped", type(error).__name__, str(error)
    if isinstance(error, asyncio.CancelledError):
        return "cancelled", None, None
    return "broken", type(error).__name__, str(error)


class ObservedEngine(Engine):
    """One whose rows are known to what they ask, and whose outcomes are told as they come out."""

    def __init__(self, program: Program, *of_an_engine: Any) -> None:
        super().__init__(_named(program), *of_an_engine)

    async def run(self, items: Iterable[Item | Outcome]) -> AsyncGenerator[Outcome]:
        async with aclosing(super().run(items)) as outcomes:
            async for outcome in outcomes:
                tell_outcome(outcome)
                yield outcome


def _named(program: Program) -> Program:
    async def named(row: Row) -> Outcome:
        name = row.record.id

        async def ask(asker: Asker, request: Request) -> Answer:
            mine = _rows.setdefault(request.key, name) is name
            try:
                return await row.ask(asker, request)
            finally:
                if mine:
                    _rows.pop(request.key, None)

        with context.bound(row=name):
            return await program(replace(row, ask=ask))

    return named


def tell_outcome(outcome: Outcome) -> None:
    count_row(outcome.status)
    text = outcome.text if outcome.status == "ok" else f"{outcome.reason} {outcome.text}"
    logs.say(
        "row",
        row=outcome.record.id,
        request=outcome.request_key or None,
        status=outcome.status,
        reused=outcome.reused,
        answer=text if logs.shows_text() else None,
    )
