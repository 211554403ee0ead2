"""A real HTTP server that speaks the OpenAI protocol, with a ledger and faults on request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.loopback import LoopbackServer

Fault = Callable[[str, int], web.Response | str | None]
"""(prompt, how often it was asked) -> a response to send instead, "drop", or None."""


def answer_to(prompt: str) -> str:
    return f"echo {prompt}"


def completion(text: str, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text} | choice.pop("message", {})
    return {
        "id": "x",
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


class TeacherServer(LoopbackServer):
    """Answers `answer_to(prompt)` unless `fault` has something else to send."""

    models = ("tiny", "large")

    def __init__(
        self, fault: Fault | None = None, *, latency_s: float = 0.0, key: str | None = None
    ) -> None:
        super().__init__()
        self.fault = fault
        self.latency_s = latency_s
        self.key = key
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._reply(request)
        finally:
            self.in_flight -= 1

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        prompt = body["messages"][-1]["content"]
        self.asked[prompt] += 1
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        fault = self.fault(prompt, self.asked[prompt]) if self.fault else None
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(fault, web.Response):
            return fault
        return web.json_response(completion(answer_to(prompt)))
