"""A real HTTP server that speaks the OpenAI chat protocol in front of a transformers folder."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from aiohttp import web

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.teachers.base import Request, Sampling
from mwalimu.teachers.local import LocalTeacher


class ModelServer:
    """Serves one model under the name `teacher`; use as a context manager."""

    def __init__(self, folder: Path, *, key: str) -> None:
        self.teacher = LocalTeacher(TeacherConfig(model=str(folder)))
        self.key = key
        self.requests = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._one_at_a_time = asyncio.Lock()

    def __enter__(self) -> ModelServer:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait(60)
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
        self._loop.run_until_complete(self.teacher.check())
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def _refused(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") != f"Bearer {self.key}"

    async def _models(self, request: web.Request) -> web.Response:
        if self._refused(request):
            return web.json_response({"error": {"message": "bad key"}}, status=401)
        return web.json_response({"object": "list", "data": [{"id": "teacher"}]})

    async def _chat(self, request: web.Request) -> web.Response:
        if self._refused(request):
            return web.json_response({"error": {"message": "bad key"}}, status=401)
        body: dict[str, Any] = await request.json()
        self.requests += 1
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        sampling = Sampling(body["temperature"], body["top_p"], body["max_tokens"], body["seed"])
        async with self._one_at_a_time:
            (raw,) = await self.teacher.send([Request("teacher", messages, sampling)])
        answer = self.teacher.parse(raw)
        usage = {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        }
        message = {"role": "assistant", "content": answer.text}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        return web.json_response(
            {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}
        )
