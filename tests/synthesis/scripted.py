"""A teacher in memory that says what a script says, late and in any order, and counts."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from mwalimu.config import Config, TeacherConfig, build_config
from mwalimu.data.record import Message, Record
from mwalimu.run import Run
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.opening import open_job
from mwalimu.teachers.base import (
    Capabilities,
    Completion,
    Reply,
    Request,
    TeacherInfo,
    TokenLogprob,
    Usage,
)

Script = Callable[[Request], str | Completion]
"""May raise whatever a teacher may raise."""


class Scripted:
    """Each answer comes after up to `latency_s`, by chance; local where `batch_size` is above 1."""

    def __init__(
        self,
        name: str,
        script: Script | str | Completion,
        *,
        latency_s: float = 0.0,
        batch_size: int = 1,
        concurrency: int = 8,
        top_logprobs: int = 0,
    ) -> None:
        self.info = TeacherInfo(name, "scripted")
        self.capabilities = Capabilities(top_logprobs=top_logprobs, tools=True)
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.latency_s = latency_s
        self.script: Script = script if callable(script) else lambda _: script
        self.asked: list[Request] = []
        self.batches: list[list[str]] = []
        self.bought: Counter[str] = Counter()

    async def check(self) -> None:
        """Always there."""

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        self.asked += requests
        self.batches.append([request.key for request in requests])
        if self.latency_s:
            await asyncio.sleep(random.random() * self.latency_s)
        replies = [Reply(json.dumps(asdict(self._completion(r))).encode()) for r in requests]
        self.bought.update(request.key for request in requests)
        return replies

    def _completion(self, request: Request) -> Completion:
        said = self.script(request)
        if isinstance(said, str):
            said = says(said)
        return replace(said, model=self.info.model)

    def parse(self, raw: bytes) -> Completion:
        fields = json.loads(raw)
        fields["usage"] = Usage(**fields["usage"])
        fields["tool_calls"] = tuple(fields["tool_calls"])
        if fields["logprobs"] is not None:
            fields["logprobs"] = tuple(TokenLogprob(t, p) for t, p, _ in fields["logprobs"])
        return Completion(**fields)

    async def close(self) -> None:
        """Nothing is open."""

    def questions(self) -> list[str]:
        return [request.messages[-1].content for request in self.asked]


def says(text: str, **fields: Any) -> Completion:
    given: dict[str, Any] = {"finish_reason": "stop", "usage": Usage(5, 3), "model": ""}
    return Completion(text, **given | fields)


def by_question(answers: dict[str, str | Completion]) -> Script:
    """The last turn decides."""
    return lambda request: answers[request.messages[-1].content]


def chance(request: Request, *texts: str) -> str:
    """One of `texts`, by the request alone."""
    return texts[int(request.key[:8], 16) % len(texts)]


TOOLS = ({"type": "function", "function": {"name": "find"}},)


def rows(*texts: str, task: str = "generic", prefix: str = "r") -> list[Record]:
    """Single turns that offer a tool."""
    return [
        Record(f"{prefix}{i}", task, (Message("user", text),), tools=TOOLS)
        for i, text in enumerate(texts)
    ]


def config_of(
    folder: Path,
    teachers: Sequence[Scripted],
    strategy: str | None = None,
    *,
    task: str = "generic",
    judge: Scripted | None = None,
    user: Scripted | None = None,
    temperature: float = 0.0,
    generate: dict[str, Any] | None = None,
    **ensemble: Any,
) -> Config:
    """A config that names these teachers, the first as `teacher`."""
    first, *others = (
        {"model": t.info.model, "kind": "fake", "temperature": temperature} for t in teachers
    )
    raw: dict[str, Any] = {
        "task": task,
        "data": {"train": "p.jsonl"},
        "teacher": first,
        "student": {"model": "none"},
        "generate": {"min_ok": 0.0} | (generate or {}),
    }
    if strategy is not None:
        raw["ensemble"] = {"strategy": strategy, "others": others} | ensemble
        if judge is not None:
            raw["ensemble"]["judge"] = {"model": judge.info.model, "kind": "fake"}
    if user is not None:
        raw["generate"]["user_model"] = {"model": user.info.model, "kind": "fake"}
    return build_config(raw, base=folder)


class Stage:
    """Runs stage 1 in `folder` with teachers found by their names."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, *teachers: Scripted) -> None:
        self.folder = folder
        self.teachers = {teacher.info.model: teacher for teacher in teachers}
        patch.setattr("mwalimu.synthesis.opening.build_teacher", self._teacher)

    def _teacher(self, config: TeacherConfig) -> Scripted:
        return self.teachers[config.model]

    def run(
        self, config: Config, train: list[Record], life: str = "run"
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(accepted rows, rejected rows); the lives of one folder share the answer store."""
        run = Run(self.folder / life)
        generate(
            config,
            run,
            self.folder / "answers",
            train,
            None,
            stage_fingerprint="f",
            on_progress=lambda *_: None,
        )
        return self.read(life, "train"), self.read(life, "rejects")

    def bytes(self, life: str = "run") -> bytes:
        folder = self.folder / life / "generate"
        return b"--".join((folder / f"{n}.jsonl").read_bytes() for n in ("train", "rejects"))

    def read(self, life: str, name: str) -> list[dict[str, Any]]:
        path = self.folder / life / "generate" / f"{name}.jsonl"
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]

    def with_job(self, config: Config, work: Callable[[Job], Awaitable[None]]) -> None:
        """Does `work` with an open job, for at most a minute."""

        async def do() -> None:
            async with open_job(config, self.folder / "answers", "00" * 16) as job:
                await work(job)

        asyncio.run(asyncio.wait_for(do(), 60))


def texts(accepted: list[dict[str, Any]]) -> list[str]:
    return [row["messages"][-1]["content"] for row in accepted]
