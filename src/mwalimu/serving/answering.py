"""From a chat request to jobs for the engine, and from their events to one response."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jinja2 import TemplateError
from starlette.requests import Request

from mwalimu.data.record import Json, Message
from mwalimu.data.tokenize import encode_prompt
from mwalimu.serving.cascade_contract import Cascade
from mwalimu.serving.chat_request import ChatRequest, plain_messages
from mwalimu.serving.generation import Finished, Job
from mwalimu.serving.grammar import Grammar, Grammars
from mwalimu.serving.pending import Bridge, Pending
from mwalimu.serving.problems import Problem, Refused, bad_request
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.settings import Settings

T = TypeVar("T")


class HungUp(Exception):
    """The client is gone; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, understood: its jobs, one a choice, and where their events arrive."""

    request: ChatRequest
    messages: list[Message]
    tools: tuple[Json, ...]
    jobs: list[Job]
    pending: Pending

    @property
    def prompt_tokens(self) -> int:
        return len(self.jobs[0].ids)


class Answering:
    """What all requests of a server share. Used on the event loop alone.

    Prompts are encoded and schemas compiled one at a time on a thread of their own: both may take
    long, and neither bears two threads.
    """

    def __init__(
        self, engine: Engine, tokenizer: Any, settings: Settings, cascade: Cascade | None
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.settings = settings
        self.cascade = cascade
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._grammars: Grammars | None = None
        self._bridge: Bridge | None = None

    async def submit(self, request: ChatRequest, owner: str) -> Asked:
        """Raises Refused."""
        if request.model != self.settings.model:
            message = f"there is no model {request.model!r}, only {self.settings.model!r}"
            raise Refused(Problem(404, message, code="model_not_found", param="model"))
        self.engine.check()
        deadline = time.monotonic() + self.settings.timeout
        loop = asyncio.get_running_loop()
        bridge = self._bridge_to(loop)
        asked = await loop.run_in_executor(self._aside, self._understood, request, bridge)
        for job in asked.jobs:
            job.owner, job.deadline = owner, deadline
        self.engine.submit(asked.jobs)
        return asked

    async def finished(self, asked: Asked) -> tuple[list[Finished], str]:
        """All choices, and the name of the model that answered. Raises Refused."""
        ended: dict[int, Finished] = {}
        async for several in asked.pending:
            ended |= {index: one for index, one in several if isinstance(one, Finished)}
        done = [ended[index] for index in range(len(asked.jobs))]
        if self.cascade is None or not _may_escalate(asked):
            return done, self.settings.model
        job, student = asked.jobs[0], done[0].completion
        messages = plain_messages(asked.messages)
        found = await self.cascade.second(messages, student, max_tokens=job.max_tokens)
        if found is None:
            return done, self.settings.model
        self.engine.metrics.escalated.inc()
        better = replace(student, text=found.text, finish_reason=found.finish_reason)
        return [replace(done[0], completion=better, rest=found.text)], found.model

    def close(self) -> None:
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _bridge_to(self, loop: asyncio.AbstractEventLoop) -> Bridge:
        if self._bridge is None or self._bridge.loop is not loop:
            self._bridge = Bridge(loop)
        return self._bridge

    def _understood(self, request: ChatRequest, bridge: Bridge) -> Asked:
        messages, tools = request.chat()
        try:
            ids = encode_prompt(self.tokenizer, messages, tools)
        except TemplateError as error:
            message = f"the model's chat template refuses these messages: {error}"
            raise bad_request(message, param="messages") from None
        most = self._most_tokens(request, len(ids))
        schema = request.wanted_schema()
        grammar = None if schema is None else self._grammar(schema)
        job = Job(
            ids=ids,
            max_tokens=most,
            deadline=0.0,
            notify=lambda event: None,
            temperature=1.0 if request.temperature is None else request.temperature,
            top_p=1.0 if request.top_p is None else request.top_p,
            seed=secrets.randbits(63) if request.seed is None else request.seed % (1 << 64),
            stop=request.stops(),
            scored=bool(request.logprobs) or self.cascade is not None,
            top_log_probs=request.top_log_probs(),
            streamed=bool(request.stream) and not tools,
        )
        pending = Pending(bridge, request.n or 1)
        jobs = [_choice(job, i, grammar, pending) for i in range(request.n or 1)]
        return Asked(request, messages, tools, jobs, pending)

    def _most_tokens(self, request: ChatRequest, prompt: int) -> int:
        """Raises Refused: the prompt and what is asked for do not fit."""
        wanted, most = request.tokens_wanted(), self.settings.max_tokens
        if wanted is not None and wanted > most:
            message = f"max_tokens is {wanted}, this server writes at most {most}"
            raise bad_request(message, param="max_tokens")
        room = self.engine.context - prompt
        if room < (wanted or 1):
            message = (
                f"the prompt has {prompt} tokens and {wanted or 1} are asked for, "
                f"the model's context has {self.engine.context}"
            )
            raise bad_request(message, param="messages", code="context_length_exceeded")
        return wanted or min(most, room)

    def _grammar(self, schema: Json) -> Grammar:
        if self._grammars is None:
            vocabulary, ends = self.engine.vocabulary, self.engine.ends
            self._grammars = Grammars(self.tokenizer, vocabulary, ends)
        return self._grammars.compile(schema)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`. Raises HungUp as soon as the client is gone.

    As asyncio.timeout ends one: by a cancellation that is taken back, without another task.
    """
    own, working, left = asyncio.current_task(), True, False
    assert own is not None

    def leave(_: object) -> None:
        nonlocal left
        if working:
            left = True
            own.cancel()

    gone = asyncio.ensure_future(_hang_up(request))
    gone.add_done_callback(leave)
    try:
        return await work
    except BaseException as error:
        if left and own.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise HungUp from None
        raise
    finally:
        working = False
        gone.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _choice(job: Job, index: int, grammar: Grammar | None, pending: Pending) -> Job:
    own, notify = grammar.copy() if grammar else None, pending.listener(index)
    return replace(job, choice=index, grammar=own, notify=notify, answer=[], log_probs=[], tops=[])


def _may_escalate(asked: Asked) -> bool:
    """Only where another model's text keeps every promise of the request."""
    request = asked.request
    plain = request.wanted_schema() is None and not asked.tools and not request.logprobs
    return plain and len(asked.jobs) == 1 and not request.stop
