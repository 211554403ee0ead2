"""A real HTTP server that speaks the OpenAI chat protocol in front of a transformers folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.teachers.base import Request, Sampling
from mwalimu.teachers.local import LocalTeacher
from tests.loopback import LoopbackServer


class ModelServer(LoopbackServer):
    """Serves one model under the name `teacher`, a request at a time."""

    models = ("teacher",)
    longest = 1 << 20  # tokens of an answer; what asks for more is cut down, as servers do

    def __init__(self, folder: Path, *, key: str) -> None:
        super().__init__()
        self.teacher = LocalTeacher(TeacherConfig(model=str(folder)))
        self.key = key
        self.requests = 0
        self._one_at_a_time = asyncio.Lock()

    async def prepare(self) -> None:
        await self.teacher.check()

    async def chat(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        self.requests += 1
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        most = min(body["max_tokens"], self.longest)
        sampling = Sampling(body["temperature"], body["top_p"], most, body["seed"])
        async with self._one_at_a_time:
            (reply,) = await self.teacher.send([Request("teacher", messages, sampling)])
        answer = self.teacher.parse(reply.raw)
        usage = {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        }
        message = {"role": "assistant", "content": answer.text}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        return web.json_response(
            {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}
        )
