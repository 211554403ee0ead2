"""The batch clients against a real server: what they send, and what they make of the replies."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from mwalimu.data.record import Message
from mwalimu.errors import ConfigError, TeacherError, TeacherRefusesKey
from mwalimu.synthesis.batches.intake import batch_prices
from mwalimu.teachers.base import Request, RowError, Sampling, TransientError
from mwalimu.teachers.batch import openai_files, transfer
from mwalimu.teachers.batch.base import (
    BatchClient,
    BatchState,
    Found,
    Gone,
    QueueFull,
    RequestFile,
    Result,
    Search,
    unix_time,
)
from mwalimu.teachers.batch.build import build_batches
from mwalimu.teachers.factory import build_teacher
from tests.held import traced
from tests.synthesis.batch_life import config_for
from tests.synthesis.batch_server import BatchServer

KINDS = ("openai", "azure", "azure-v1", "anthropic")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_files, "FILE_POLL_S", 0.01)


def request(text: str = "q") -> Request:
    return Request("tiny", (Message("user", text),), Sampling(max_tokens=5))


def made(kind: str, home: str, **changes: Any) -> BatchClient:
    return build_batches(build_teacher(config_for(Path("/"), kind, home, **changes).teacher))


def asked(
    kind: str, home: str, ask: Callable[[BatchClient], Awaitable[Any]], **changes: Any
) -> Any:
    async def once() -> Any:
        client = made(kind, home, **changes)
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(once())


def sent(kind: str, server: BatchServer, folder: Path, *texts: str, **changes: Any) -> str:
    async def submit(client: BatchClient) -> str:
        file = RequestFile(folder, client.separator)
        for text in texts:
            file.add(client.line(request(text).key, request(text)))
        try:
            return await client.submit(file, "a" * 32)
        finally:
            file.close()

    return str(asked(kind, server.home, submit, **changes))


async def listed(client: BatchClient, state: BatchState) -> list[Result]:
    async with aclosing(client.results(state)) as results:
        return [result async for result in results]


ENDPOINTS = {
    "openai": "/v1/chat/completions",
    "azure": "/chat/completions",
    "azure-v1": "/v1/chat/completions",
}


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_a_line_of_openai_is_the_online_body_under_its_key(kind: str) -> None:
    client = made(kind, "http://localhost", deployment="tiny-batch")
    line = json.loads(client.line(request().key, request()))
    assert line["custom_id"] == request().key and len(line["custom_id"]) == 64
    assert (line["method"], line["url"]) == ("POST", ENDPOINTS[kind])
    assert line["body"]["messages"] == [{"role": "user", "content": "q"}]
    assert line["body"]["model"] == ("tiny" if kind == "openai" else "tiny-batch")
    assert "stream" not in line["body"] and line["body"]["max_tokens"] == 5


def test_a_line_of_anthropic_has_the_online_body_as_params() -> None:
    line = json.loads(made("anthropic", "http://localhost").line(request().key, request()))
    assert line["custom_id"] == request().key
    assert line["params"]["max_tokens"] == 5 and "stream" not in line["params"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_json_is_the_rows_own_error(kind: str) -> None:
    with pytest.raises(RowError):
        made(kind, "http://localhost").line("k", request("\ud800"))


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(tmp_path: Path, kind: str) -> None:
    with BatchServer(polls=0) as server:
        remote = sent(kind, server, tmp_path, "a", "b")

        async def fetch(client: BatchClient) -> tuple[BatchState, list[Result]]:
            state = await client.poll(remote)
            return state, await listed(client, state)

        state, results = asked(kind, server.home, fetch)
        teacher = build_teacher(config_for(tmp_path, kind, server.home).teacher)
    assert (state.status, state.done, state.total, state.succeeded) == ("ended", 2, 2, 2)
    assert [result.key for result in results] == [request("a").key, request("b").key]
    assert all(result.raw for result in results)
    completion = teacher.parse(results[0].raw or b"")
    assert completion.text == "echo a" and completion.usage.prompt_tokens == 7


def test_every_kind_of_failure_has_its_reason_and_is_not_billed(tmp_path: Path) -> None:
    fates = {
        "late": "expired",
        "stopped": "cancelled",
        "bad": (400, {"error": {"message": "too long", "type": "invalid_request_error"}}),
    }
    for kind in KINDS:
        with BatchServer(polls=0, fate=fates.get) as server:
            remote = sent(kind, server, tmp_path, *fates)

            async def fetch(client: BatchClient, remote: str = remote) -> list[Result]:
                return await listed(client, await client.poll(remote))

            results = asked(kind, server.home, fetch)
        assert [(result.raw, result.billed) for result in results] == [(None, False)] * 3
        reasons = [result.reason for result in results]
        assert "expired" in reasons[0] and "cancel" in reasons[1] and "too long" in reasons[2]


@pytest.mark.parametrize("kind", KINDS)
def test_lines_without_meaning_are_told_apart(tmp_path: Path, kind: str) -> None:
    lines = [
        b"{",
        b"[]",
        b'"x"',
        b'{"custom_id": "k"}',
        b'{"custom_id": "k", "result": 3}',
        b"null",
    ]
    client: Any = made(kind, "http://localhost")
    for line in lines:
        result = client._result(line)
        assert result.raw is None
        assert result.billed and result.reason


def test_states_of_openai_and_azure_are_read_as_they_write_them() -> None:
    replies: list[dict[str, Any]] = [
        {"status": "Validating", "request_counts": {"total": None, "completed": None}},
        {"status": "finalizing", "request_counts": None},
        {"status": "expired", "output_file_id": "o", "error_file_id": ""},
        {
            "status": "failed",
            "errors": {"data": [{"code": "token_limit_exceeded", "message": "full"}]},
        },
        {"status": "something new"},
    ]

    class Teller(BatchServer):
        def _shown(self, batch: Any, anthropic: bool) -> dict[str, Any]:
            return {"id": batch.id} | replies[self.calls["poll"] - 1]

    async def poll_all(client: BatchClient) -> list[BatchState]:
        return [await client.poll("batch-0") for _ in replies]

    with Teller() as server:
        server._new([], None, "")
        states = asked("openai", server.home, poll_all)
    statuses = ["running", "running", "expired", "failed", "running"]
    assert [state.status for state in states] == statuses
    assert states[2].files == ("o",) and states[3].queue_full and states[3].detail == "full"
    assert states[0].succeeded is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((401, {}), TeacherRefusesKey),
        ((429, {}), TransientError),
        ((500, {}), TransientError),
        ((400, {"error": {"message": "bad"}}), TeacherError),
        ((400, {"error": {"code": "content_filter"}}), TeacherError),
        ((404, {}), Gone),
        ((429, {"error": {"code": "token_limit_exceeded"}}), QueueFull),
        ((200, [1]), TransientError),
        ("drop", TransientError),
    ],
)
def test_a_refusal_is_the_right_exception(kind: str, reply: Any, error: type[Exception]) -> None:
    with (
        BatchServer(fault=lambda op, n: reply if op == "poll" else None) as server,
        pytest.raises(error),
    ):
        asked(kind, server.home, lambda client: client.poll("batch-0"))


def test_results_that_were_archived_are_gone() -> None:
    class Archive(BatchServer):
        def _shown(self, batch: Any, anthropic: bool) -> dict[str, Any]:
            return super()._shown(batch, anthropic) | {"archived_at": "2026-01-01T00:00:00Z"}

    with Archive(polls=0) as server:
        server._new([], None, "")
        with pytest.raises(Gone):
            asked("anthropic", server.home, lambda client: client.poll("batch-0"))


@pytest.mark.parametrize("keeps", [True, False])
def test_openai_is_searched_by_the_tag(tmp_path: Path, keeps: bool) -> None:
    with BatchServer(keeps_metadata=keeps) as server:
        remote = sent("openai", server, tmp_path, "a")

        def found(tag: str, since: float = 0.0) -> Found:
            search = Search(tag, 1, since, frozenset())
            found = asked("openai", server.home, lambda client: client.find(search))
            assert isinstance(found, Found)
            return found

        assert found("a" * 32) == Found(remote)
        assert found("b" * 32) == Found(None)
        assert found("a" * 32, since=server.batches[remote].created + 3600) == Found(None)


def test_anthropic_is_searched_by_size_and_time(tmp_path: Path) -> None:
    with BatchServer() as server:
        first = sent("anthropic", server, tmp_path, "a", "b")
        since = server.batches[first].created

        def found(count: int, since: float, *taken: str) -> Any:
            search = Search("t", count, since, frozenset(taken))
            return asked("anthropic", server.home, lambda client: client.find(search))

        assert found(2, since) == Found(first)
        assert found(3, since) == found(2, since + 3600) == found(2, since, first) == Found(None)
        second = sent("anthropic", server, tmp_path, "c", "d")
        assert found(2, since) == Found(None, sure=False)
        assert found(2, since, first) == Found(second)


@pytest.mark.parametrize("kind", KINDS)
def test_cancelling_what_has_ended_is_no_error(tmp_path: Path, kind: str) -> None:
    late = (400, {"error": {"message": "it has ended"}})
    with BatchServer(fault=lambda op, n: late if op == "cancel" else None) as server:
        remote = sent(kind, server, tmp_path, "a")
        asked(kind, server.home, lambda client: client.cancel(remote))


def test_the_key_goes_along_and_is_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "canary-7f3a")
    seen = []

    class Listener(BatchServer):
        async def _serve_one(
            self, operation: str, request: web.Request, *which: str
        ) -> web.StreamResponse:
            seen.append(dict(request.headers))
            return await super()._serve_one(operation, request, *which)

    refusal = (400, {"error": {"message": "your key canary-7f3a may not"}})
    with Listener(fault=lambda op, n: refusal if op == "create" else None) as server:
        for kind, header in (("openai", "Authorization"), ("anthropic", "x-api-key")):
            with pytest.raises(TeacherError) as caught:
                sent(kind, server, tmp_path, "a", api_key_env="MY_KEY")
            assert "canary" not in str(caught.value) and "may not" in str(caught.value)
            sent_key = {name.lower(): value for name, value in seen[-1].items()}[header.lower()]
            assert sent_key.endswith("canary-7f3a")


def test_azure_needs_an_address_with_batches() -> None:
    foundry = {"base_url": "https://r.services.ai.azure.com/models", "deployment": None}
    with pytest.raises(ConfigError, match="no batch API"):
        made("azure", "http://localhost", **foundry)


def test_cached_tokens_keep_their_discount_only_where_the_provider_says_so() -> None:
    config = config_for(Path("/"), "openai", "http://localhost", usd_per_million_cached=0.2).teacher
    assert batch_prices(config, cached_discount=True).usd(0, 0) == 0
    assert batch_prices(config, cached_discount=True).usd(1e6, 0, 1e6) == pytest.approx(0.1)
    assert batch_prices(config, cached_discount=False).usd(1e6, 0, 1e6) == pytest.approx(1.0)
    assert batch_prices(config, cached_discount=False).usd(0, 1e6) == pytest.approx(5.0)


@pytest.mark.parametrize(
    "value", [1719864000, 1719864000.0, "2024-07-01T20:00:00Z", "2024-07-01T20:00:00.0000000+00:00"]
)
def test_times_are_read_in_every_form(value: object) -> None:
    assert unix_time(value) == 1719864000
    assert unix_time(None) is None and unix_time("soon") is None


# -- large files ------------------------------------------------------------------------------


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_do_not_depend_on_how_they_arrive(size: int) -> None:
    async def split(data: bytes, limit: int) -> list[bytes]:
        return [line async for line in transfer._split(_pieces(data, size), limit)]

    assert asyncio.run(split(b"one\n\ntwo\nthree", 100)) == [b"one", b"", b"two", b"three"]
    assert asyncio.run(split(b"short\n" + b"x" * 50 + b"\nend\n", 10)) == [b"short", b"?", b"end"]
    assert asyncio.run(split(b"ok\n" + b"x" * 50, 10)) == [b"ok", b"?"]


def test_results_may_come_packed() -> None:
    class Packer(BatchServer):
        async def _stream(self, request: web.Request, lines: Any) -> web.StreamResponse:
            packed = gzip.compress(b'{"custom_id": "k", "result": {"type": "expired"}}\n' * 3)
            return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    with Packer() as server:
        server._new([], None, "")
        state = BatchState("batch-0", "ended")
        results = asked("anthropic", server.home, lambda client: listed(client, state))
    assert [result.key for result in results] == ["k"] * 3


def test_memory_does_not_grow_with_the_results() -> None:
    """20,000 results of 4 kB each; the largest thing held is a line."""
    filler = "x" * 4000

    class Large(BatchServer):
        def _results(self, which: str, anthropic: bool) -> Any:
            message = self._answer(filler, True)
            for number in range(20_000):
                result = {"type": "succeeded", "message": message}
                yield orjson.dumps({"custom_id": f"{number:064x}", "result": result}) + b"\n"

    async def count(client: BatchClient) -> int:
        seen = 0
        async with aclosing(client.results(BatchState("batch-0", "ended"))) as results:
            async for result in results:
                assert result.raw is not None
                seen += 1
        return seen

    with Large() as server:
        server._new([], None, "")

        def counted() -> None:
            assert asked("anthropic", server.home, count) == 20_000

        _, peak = traced(counted)
    assert peak < 8 << 20


def test_memory_does_not_grow_with_the_requests(tmp_path: Path) -> None:
    """A file of 60 MB goes out in pieces."""

    class Sink(BatchServer):
        async def _serve_one(
            self, operation: str, request: web.Request, *which: str
        ) -> web.StreamResponse:
            size = 0
            async for piece in request.content.iter_any():
                size += len(piece)
            return web.json_response({"id": str(size)})

    async def submit(client: BatchClient) -> tuple[str, int]:
        file = RequestFile(tmp_path, client.separator)
        for _ in range(60):
            file.add(b"x" * 1_000_000)
        try:
            return await client.submit(file, "a" * 32), file.size
        finally:
            file.close()

    with Sink() as server:

        def sent() -> None:
            received, size = asked("anthropic", server.home, submit)
            assert int(received) == size + len(b'{"requests":[\n') + len(b"\n]}")

        _, peak = traced(sent)
    assert peak < 16 << 20
