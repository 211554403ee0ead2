"""A served teacher as the engine meets it: check, send, errors, identity; and the SDKs' errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.errors import (
    ConfigError,
    MwalimuError,
    TeacherError,
    TeacherRefusesKey,
    TeacherUnreachable,
    UnknownTeacherModel,
)
from mwalimu.teachers.base import (
    RateLimits,
    Reply,
    Request,
    RowError,
    Sampling,
    Teacher,
    TransientError,
    Window,
)
from mwalimu.teachers.factory import build_teacher
from mwalimu.teachers.fake import FakeTeacher
from tests.teachers.raw_server import RawServer, Script, Seen, http
from tests.teachers.test_http import closed_port

KEY = "sk-canary-0123456789"
ANSWER = {"model": "tiny", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
MESSAGE = {"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)


def config(base: str, kind: str = "openai_compatible", **more: Any) -> TeacherConfig:
    known = {"model": "tiny", "kind": kind, "base_url": base, "timeout_s": 5, "idle_s": 5}
    return TeacherConfig.model_validate(known | more)


def request(teacher: Teacher, text: str = "q", **more: Any) -> Request:
    return Request(teacher.info.model, (Message("user", text),), Sampling(), **more)


def ask(
    script: Script | bytes, kind: str = "openai_compatible", *, text: str = "q", **more: Any
) -> Reply | Exception:
    """The reply to one request, or what `send` raises."""

    async def send(url: str) -> Reply | Exception:
        teacher = build_teacher(config(url, kind, **{"api_key_env": "SOME_KEY"} | more))
        try:
            (reply,) = await teacher.send([request(teacher, text)])
            return reply
        except (MwalimuError, RowError, TransientError) as error:
            return error
        finally:
            await teacher.close()

    with RawServer(script if callable(script) else lambda _: script) as server:
        return asyncio.run(send(server.url))


def check(script: Script | bytes, kind: str = "openai_compatible", **more: Any) -> RawServer:
    with RawServer(script if callable(script) else lambda _: script) as server:
        run_check(config(server.url + "/v1", kind, **more))
    return server


def run_check(wanted: TeacherConfig) -> None:
    async def look() -> None:
        teacher = build_teacher(wanted)
        try:
            await teacher.check()
        finally:
            await teacher.close()

    asyncio.run(look())


def test_an_answer_comes_as_its_bytes_with_its_limits() -> None:
    headers = {"x-ratelimit-remaining-requests": "9"}
    raw = orjson.dumps(ANSWER)
    reply = ask(http(body=raw, headers=headers))
    assert reply == Reply(raw, RateLimits(requests=Window(remaining=9.0)))


@pytest.mark.parametrize(
    ("base", "more", "identity"),
    [
        ("http://localhost:8000/v1", {}, "tiny@localhost"),
        ("http://127.0.0.1:9/v1", {}, "tiny@localhost"),
        ("http://[::1]:9/v1", {}, "tiny@localhost"),
        ("https://API.example.com/v1", {}, "tiny@api.example.com"),
        ("https://api.example.com:8443/v1", {"model": "m"}, "m@api.example.com"),
        ("https://api.example.com", {"identity": "known"}, "known"),
    ],
)
def test_identity(base: str, more: dict[str, Any], identity: str) -> None:
    teacher = build_teacher(config(base, **more))
    assert (teacher.info.model, teacher.info.kind) == (identity, "openai_compatible")
    assert teacher.batch_size == 1


def test_every_kind_is_built() -> None:
    anthropic = build_teacher(TeacherConfig(model="claude-x", kind="anthropic"))
    assert anthropic.info.model == "claude-x@api.anthropic.com"
    assert (anthropic.capabilities.top_logprobs, anthropic.capabilities.tools) == (0, True)
    azure = build_teacher(config("https://r.openai.azure.com", "azure", concurrency=3))
    assert azure.info.model == "tiny@r.openai.azure.com"
    assert (azure.capabilities.top_logprobs, azure.concurrency) == (20, 3)
    assert isinstance(build_teacher(TeacherConfig(model="fake")), FakeTeacher)


@pytest.mark.parametrize(
    "base", ["localhost:8000/v1", "ftp://h/v1", "http://", "/v1", "http://h:99999", "x y"]
)
def test_an_address_that_is_none(base: str) -> None:
    with pytest.raises(ConfigError, match=r"teacher.base_url: is no http"):
        build_teacher(config(base))


def test_a_key_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="user or a password") as caught:
        build_teacher(config(f"https://me:{KEY}@h/v1"))
    assert KEY not in str(caught.value)


def models(*names: str) -> bytes:
    return http(body={"object": "list", "data": [{"id": name} for name in names]})


def test_check_asks_for_the_list_with_the_key() -> None:
    (seen,) = check(models("tiny"), api_key_env="SOME_KEY").seen
    assert (seen.method, seen.path) == ("GET", "/v1/models")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    (seen,) = check(models("tiny"), "anthropic", api_key_env="SOME_KEY").seen
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/models", KEY)


@pytest.mark.parametrize(
    "answer",
    [
        models(),
        models("other", "models/tiny"),
        models("tiny:latest"),
        models("tiny-2026-01-01"),
        models("tiny-20260101"),
        http(body=[{"id": "tiny"}]),
        http(404, b"<html>"),
        http(405),
        http(501),
        http(503),
        http(429),
        http(body=b"<html>hello</html>"),
        http(body={"data": None}),
    ],
)
def test_a_server_with_the_model_or_without_a_list_passes(answer: bytes) -> None:
    check(answer)


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownTeacherModel, match=r"no model 'tiny'; did you mean 'tinny'\?"):
        check(models("large", "tinny"))
    with pytest.raises(UnknownTeacherModel, match="it has a, b"):
        check(models("a", "b"))


@pytest.mark.parametrize("status", [401, 403])
def test_check_finds_a_wrong_key(status: int) -> None:
    with pytest.raises(TeacherRefusesKey, match=r"the key in \$SOME_KEY was refused") as caught:
        check(http(status, {"error": KEY}), api_key_env="SOME_KEY")
    assert KEY not in str(caught.value)
    with pytest.raises(TeacherRefusesKey, match="no key was sent"):
        check(http(status))


def test_check_finds_a_redirect_and_an_empty_purse() -> None:
    with pytest.raises(TeacherError, match="redirects"):
        check(http(308, headers={"Location": "https://elsewhere/v1"}))
    with pytest.raises(TeacherError, match="no credit"):
        check(http(402))


@pytest.mark.parametrize(
    ("value", "problem"), [(None, "is not set"), ("  ", "is not set"), ("a\nb", "cannot carry")]
)
def test_a_key_that_is_missing_costs_no_request(
    value: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY")
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(TeacherRefusesKey, match=rf"\$SOME_KEY, .*{problem}"):
        check(models("tiny"), api_key_env="SOME_KEY")
    assert isinstance(ask(http(body=ANSWER)), TeacherRefusesKey)


def test_check_finds_a_dead_server() -> None:
    with pytest.raises(TeacherUnreachable, match=r"connection refused.*teacher.base_url"):
        run_check(config(f"http://127.0.0.1:{closed_port()}/v1"))


def test_no_key_is_sent_where_none_is_named() -> None:
    seen: list[Seen] = []

    def script(asked: Seen) -> bytes:
        seen.append(asked)
        return http(body=ANSWER)

    assert isinstance(ask(script, api_key_env=None), Reply)
    assert "authorization" not in seen[0].headers


def test_what_json_cannot_hold_is_a_bad_row() -> None:
    error = ask(http(body=ANSWER), text="lone \ud800 surrogate")
    assert isinstance(error, RowError) and "cannot be sent as JSON" in str(error)


def test_nothing_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = orjson.dumps({"error": {"message": f"Bearer {KEY} is {KEY}", "code": KEY}})
    for status in (200, 301, 400, 401, 402, 403, 404, 409, 418, 422, 429, 500):
        error = ask(http(status, echo, {"Location": f"https://h/{KEY}"}))
        assert isinstance(error, Exception)
        shown = f"{error!s}{error!r}{error.args}{vars(error)}{error.__cause__!r}"
        assert KEY not in shown + repr(error.__context__), status
    teacher = build_teacher(config("http://h/v1", api_key_env="SOME_KEY"))
    asyncio.run(teacher.wire.headers(teacher.config))  # type: ignore[attr-defined]
    assert KEY not in repr(teacher) + repr(teacher.info)
    assert KEY not in caplog.text


KINDS: dict[str, type[Exception]] = {
    "BadRequestError": RowError,
    "AuthenticationError": TeacherRefusesKey,
    "PaymentRequiredError": TeacherError,
    "PermissionDeniedError": TeacherRefusesKey,
    "NotFoundError": UnknownTeacherModel,
    "RequestTimeoutError": TransientError,
    "ConflictError": TransientError,
    "ContentTooLargeError": RowError,
    "RequestTooLargeError": RowError,
    "UnprocessableEntityError": RowError,
    "RateLimitError": TransientError,
    "InternalServerError": TransientError,
    "HTTPNotImplementedError": TransientError,
    "ServiceUnavailableError": TransientError,
    "GatewayTimeoutError": TransientError,
    "DeadlineExceededError": TransientError,
    "OverloadedError": TransientError,
}
STATUSES = [400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 501, 502, 503, 504, 529]
BY_STATUS: dict[int, type[Exception]] = {  # where an SDK has no class of its own
    402: TeacherError,
    408: TransientError,
    413: RowError,
    418: TeacherError,
}


def openai_raises(url: str) -> tuple[Exception, bool]:
    """The SDK's error, and whether it would try again."""
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="m", messages=[])
        return caught.value, client._should_retry(caught.value.response)


def anthropic_raises(url: str) -> tuple[Exception, bool]:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(model="m", max_tokens=1, messages=[])
        return caught.value, client._should_retry(caught.value.response)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("kind", "sdk"), [("openai_compatible", openai_raises), ("anthropic", anthropic_raises)]
)
def test_errors_are_of_the_kind_that_the_sdk_raises(
    kind: str, sdk: Callable[[str], tuple[Exception, bool]], status: int
) -> None:
    body = {"type": "error", "error": {"type": "some_error", "message": "why", "code": None}}
    answer = http(status, body, {"Content-Type": "application/json"})
    error = ask(answer, kind)
    with RawServer(lambda _: answer) as server:
        their_error, their_retry = sdk(server.url)
    names = [cls.__name__ for cls in type(their_error).__mro__]
    expected = next((KINDS[name] for name in names if name in KINDS), BY_STATUS.get(status))
    assert expected is not None, names
    assert type(error) is expected, names
    assert isinstance(error, TransientError) == their_retry


@pytest.mark.parametrize(
    ("kind", "answer"), [("openai_compatible", ANSWER), ("anthropic", MESSAGE)]
)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[:-4],
        lambda raw: b"<html></html>",
        lambda raw: raw.replace(b'"a"', b'"\xff"'),
        lambda raw: b"[" + raw + b"]",
        lambda raw: b"null",
        lambda raw: b'{"error": {"message": "overloaded"}}',
        lambda raw: b'{"type": "error", "error": {"type": "overloaded_error"}}',
    ],
)
def test_a_200_that_is_no_answer(
    kind: str, answer: dict[str, Any], spoil: Callable[[bytes], bytes]
) -> None:
    raw = orjson.dumps(answer)
    assert isinstance(ask(http(body=raw), kind), Reply)
    error = ask(http(body=spoil(raw)), kind)
    assert isinstance(error, TransientError) and error.ambiguous


def test_the_fake_teacher_replies() -> None:
    teacher = FakeTeacher()
    (reply,) = asyncio.run(teacher.send([request(teacher)]))
    assert teacher.parse(reply.raw).text.startswith("answer ")
