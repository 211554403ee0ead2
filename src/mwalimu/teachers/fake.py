"""A deterministic teacher that ships: tests, documentation and dry runs need no network."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

import orjson

from mwalimu.teachers.base import Capabilities, Completion, Reply, Request, TeacherInfo, Usage

Script = Callable[[Request], str]


def echo(request: Request) -> str:
    """A short answer that depends on the last user turn and on nothing else."""
    asked = request.messages[-1].content
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    return f"answer {digest} to: {' '.join(asked.split()[:6])}."


class FakeTeacher:
    """Answers by `script`, which may raise any error that a teacher may raise."""

    def __init__(
        self,
        script: Script = echo,
        *,
        latency_s: float = 0.0,
        concurrency: int = 16,
        batch_size: int = 1,
    ) -> None:
        self.info = TeacherInfo("fake", "fake")
        self.capabilities = Capabilities()
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.script = script
        self.latency_s = latency_s
        self.calls: list[str] = []

    async def check(self) -> None:
        """Always there."""

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        self.calls += [request.key for request in requests]
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        return [Reply(orjson.dumps({"text": self.script(request)})) for request in requests]

    def parse(self, raw: bytes) -> Completion:
        text = orjson.loads(raw)["text"]
        return Completion(text, "stop", Usage(0, len(text.split())), "fake")

    async def close(self) -> None:
        """Nothing is open."""
