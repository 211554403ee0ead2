"""The exchanges of golden/: run through our adapters, or given to a provider's own SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.teachers.base import Completion, Request, Sampling, Usage
from mwalimu.teachers.factory import build_teacher
from tests.teachers.raw_server import RawServer, Seen, http

FOLDER = Path(__file__).parent / "golden"
KEY_ENV, KEY = "GOLDEN_KEY", "test-key"
KINDS = {"openai": "openai_compatible", "anthropic": "anthropic", "azure": "azure"}
MODELS = {"openai": "gpt-x", "anthropic": "claude-x", "azure": "gpt-x"}
BASES = {"openai": "/v1", "anthropic": "", "azure": ""}


@dataclass(frozen=True)
class Case:
    provider: str
    name: str
    content: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    @property
    def answer(self) -> bytes:
        headers = {"Content-Type": "application/json"}
        return http(self.content.get("status", 200), self["answers"], headers)

    def config(self, url: str) -> TeacherConfig:
        base = self.content.get("base_path", BASES[self.provider])
        return TeacherConfig.model_validate(
            {
                "model": MODELS[self.provider],
                "kind": KINDS[self.provider],
                "base_url": url + base,
                "api_key_env": KEY_ENV,
                "timeout_s": 10,
            }
            | self["config"]
        )

    def request(self, model: str) -> Request:
        wanted = dict(self["request"])
        sampling = wanted.pop("sampling")
        if "stop" in sampling:
            sampling = sampling | {"stop": tuple(sampling["stop"])}
        return Request(
            model,
            tuple(
                Message(
                    m["role"],
                    m["content"],
                    tuple(m.get("tool_calls", ())),
                    m.get("tool_call_id", ""),
                )
                for m in wanted.pop("messages")
            ),
            Sampling(**sampling),
            tools=tuple(wanted.pop("tools", ())),
            **wanted,
        )


def cases(provider: str) -> list[Any]:
    files = sorted((FOLDER / provider).glob("*.json"))
    assert files
    return [
        pytest.param(Case(provider, f.stem, json.loads(f.read_text())), id=f.stem) for f in files
    ]


def ours(case: Case) -> tuple[Seen, Completion]:
    """What our adapter sends and understands."""

    async def ask(url: str) -> Completion:
        teacher = build_teacher(case.config(url))
        try:
            (reply,) = await teacher.send([case.request(teacher.info.model)])
            return teacher.parse(reply.raw)
        finally:
            await teacher.close()

    with RawServer(lambda _: case.answer) as server:
        completion = asyncio.run(ask(server.url))
    (seen,) = server.seen
    return seen, completion


def theirs(case: Case, call: Callable[[str], Any]) -> tuple[Seen, Any]:
    """What an SDK sends and gives back, or raises."""
    with RawServer(lambda _: case.answer) as server:
        given = call(server.url)
    (seen,) = server.seen
    return seen, given


def assert_sends(seen: Seen, case: Case) -> None:
    sends = case["sends"]
    assert (seen.method, seen.path, seen.query) == ("POST", sends["path"], sends["query"])
    assert {name: seen.headers.get(name) for name in sends["headers"]} == sends["headers"]
    unwanted = {"authorization", "api-key", "x-api-key"} - sends["headers"].keys()
    assert not unwanted & seen.headers.keys()
    assert seen.body == sends["body"]


def assert_same_request(ours: Seen, theirs: Seen, headers: set[str]) -> None:
    """Field by field: where it goes, what it says, and the headers that matter."""
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert ours.body == theirs.body
    names = headers | {"content-type", "accept"}
    assert {n: ours.headers.get(n) for n in names} == {n: theirs.headers.get(n) for n in names}


def assert_means(completion: Completion, case: Case) -> None:
    means = case["means"]
    assert completion.text == means["text"]
    assert completion.finish_reason == means["finish_reason"]
    assert completion.usage == Usage(*means["usage"])
    assert completion.model == means["model"]
    assert completion.reasoning == means["reasoning"]
    assert list(completion.tool_calls) == means["tool_calls"]
    assert as_lists(completion) == means["logprobs"]


def as_lists(completion: Completion) -> list[Any] | None:
    if completion.logprobs is None:
        return None
    return [[t, lp, [list(pair) for pair in top]] for t, lp, top in completion.logprobs]
