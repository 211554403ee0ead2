"""A real HTTP server that speaks the OpenAI protocol, with a ledger and faults on request."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

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


class TeacherServer:
    """Runs in a thread on a free loopback port; use as a context manager."""

    def __init__(
        self, fault: Fault | None = None, *, latency_s: float = 0.0, key: str | None = None
    ) -> None:
        self.fault = fault
        self.latency_s = latency_s
        self.key = key
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()

    def __enter__(self) -> TeacherServer:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def _authorised(self, request: web.Request) -> bool:
        return self.key is None or request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _models(self, request: web.Request) -> web.Response:
        if not self._authorised(request):
            return web.json_response({"error": {"message": "bad key"}}, status=401)
        return web.json_response({"data": [{"id": "tiny"}, {"id": "large"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if not self._authorised(request):
            return web.json_response({"error": {"message": "bad key"}}, status=401)
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
