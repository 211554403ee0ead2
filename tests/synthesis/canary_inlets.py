"""The ways by which a key comes in: from the user's side, and back from the server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.synthesis.faulty_server import Exchange, FaultyServer

VARIABLE = "CANARY_KEY"
Script = Callable[["Exchange"], Any]


class Canary:
    """A key with the characters that encodings change around a part that none but base64 does."""

    def __init__(self, name: str) -> None:
        self.core = hashlib.sha256(name.encode()).hexdigest()[:20]
        self.key = f"sk+{self.core}/x=="

    def found_in(self, data: bytes) -> str:
        """The form in which it is there, "" if it is not."""
        core = self.core[:12].encode()  # a truncated key is a leak as well
        if core in data:
            return "plain or URL-encoded"
        for shift in range(3):
            packed = base64.b64encode(b"\0" * shift + core)
            if packed[(0, 2, 3)[shift] : -4] in data:
                return "base64"
        return ""


@dataclass(frozen=True)
class Inlet:
    """`teacher` are settings of the job, `chat` and `models` what the server does there.

    `code` is the exit code. `<KEY>` and `<URL>` stand for the key and the server in all of it.
    """

    name: str
    code: int
    teacher: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    chat: Callable[[Canary], Script] | None = None
    models: Callable[[Canary], Script] | None = None


def filled(value: Any, key: str, url: str = "") -> Any:
    if isinstance(value, str):
        plain = key.strip("=")  # for an option, where a sign of equality has a meaning
        return value.replace("<KEY>", key).replace("<KEY-=>", plain).replace("<URL>", url)
    if isinstance(value, Mapping):
        return {name: filled(item, key, url) for name, item in value.items()}
    return [filled(item, key, url) for item in value] if isinstance(value, list) else value


def says(status: int, words: str, headers: Mapping[str, str] = {}, **more: str) -> Any:
    """An error that holds `words` wherever a server could put them."""

    def script(canary: Canary) -> Script:
        async def play(x: Exchange) -> None:
            said = filled(words, canary.key)
            error = {"message": said, "param": said} | more
            body = json.dumps({"error": error, "detail": said}).encode()
            told = {name: filled(value, canary.key) for name, value in headers.items()}
            await x.reply(body, status=status, headers=told)

        return play

    return script


def answers(changes: Callable[[Canary], dict[str, Any]], headers: Mapping[str, str] = {}) -> Any:
    def script(canary: Canary) -> Script:
        async def play(x: Exchange) -> None:
            told = {name: filled(value, canary.key) for name, value in headers.items()}
            await x.reply(json.dumps(x.completion(**changes(canary))).encode(), headers=told)

        return play

    return script


def echoes_the_request(canary: Canary) -> Script:
    """As debugging gateways do: where it was asked, and with what."""

    async def play(x: Exchange) -> None:
        keys = {k: v for k, v in x.headers.items() if k.endswith(("authorization", "api-key"))}
        extra = {k: v for k, v in x.body.items() if k in ("api_key", "nested")}
        said = " ".join(map(json.dumps, (x.path, keys, extra)))
        await x.reply(json.dumps({"error": {"message": said}}).encode(), status=400)

    return play


def echoes_it_encoded(canary: Canary) -> Script:
    async def play(x: Exchange) -> None:
        packed = base64.b64encode(f"Bearer {canary.key}".encode()).decode()
        said = f"no: {quote(canary.key, safe='')} {quote(canary.key)} {packed}"
        await x.reply(json.dumps({"error": {"message": said}}).encode(), status=400)

    return play


def breaks_off(canary: Canary) -> Script:
    async def play(x: Exchange) -> None:
        await x.write(f"HTTP/1.1 200 OK\r\nX-Key: {canary.key}\r\nContent-Length: 9\r\n".encode())
        x.reset()

    return play


def no_http(canary: Canary) -> Script:
    async def play(x: Exchange) -> None:
        await x.write(f"{canary.key} 500 Bearer {canary.key}\r\n\r\n".encode())

    return play


def lists_the_key(canary: Canary) -> Script:
    async def play(x: Exchange) -> None:
        names = [{"id": f"for-{canary.key}"}, {"id": "a\nb"}]
        await x.reply(json.dumps({"data": names}).encode())

    return play


SENT = {"api_key_env": VARIABLE, "max_retries": 0}
IN_ENV = {VARIABLE: "<KEY>"}
ECHO = "Incorrect key: Authorization: Bearer <KEY>"
HEADERS = {"X-Request-Id": "<KEY>", "Set-Cookie": "k=<KEY>", "X-RateLimit-Limit-Requests": "<KEY>"}


def served(name: str, code: int, **how: Any) -> Inlet:
    """The key is where it belongs, and the server is the one that gives it back."""
    return Inlet(name, code, teacher=SENT | how.pop("teacher", {}), env=IN_ENV, **how)


BACK_FROM_THE_SERVER = [
    served("nowhere_else", 0),
    served("words_of_400", 9, chat=says(400, ECHO)),
    served("words_of_400_encoded", 9, chat=echoes_it_encoded),
    served("words_of_400_to_the_filter", 9, chat=says(400, ECHO, code="content_filter")),
    served("words_of_401_at_the_check", 4, models=says(401, ECHO)),
    served("words_of_401", 4, chat=says(401, ECHO)),
    served("words_of_403", 4, chat=says(403, ECHO)),
    served("words_of_404", 4, chat=says(404, ECHO)),
    served("words_of_405", 4, chat=says(405, ECHO)),
    served("words_of_429_quota", 4, chat=says(429, ECHO, code="insufficient_quota")),
    served("words_of_500", 9, chat=says(500, ECHO)),
    served("words_of_an_error_with_200", 9, chat=says(200, ECHO)),
    served("words_in_an_answer", 9, chat=answers(lambda c: {"choice": {
        "finish_reason": f"abort {c.key}", "error": {"message": c.key}}})),
    served("redirect", 4, chat=says(302, "", {
        "Location": "http://u:<KEY>@other/<KEY>?key=<KEY>#<KEY>", **HEADERS})),
    served("headers_of_an_answer", 0, chat=answers(lambda c: {}, HEADERS)),
    served("headers_of_400", 9, chat=says(400, "no", HEADERS)),
    served("connection_that_breaks", 9, chat=breaks_off),
    served("no_http_at_all", 9, chat=no_http),
    served("list_of_models", 4, models=lists_the_key),
    served("words_to_x_api_key", 9, teacher={"kind": "anthropic"}, chat=echoes_the_request),
    served("words_to_azure", 9, teacher={"kind": "azure", "base_url": "<URL>/openai/v1"},
           chat=echoes_the_request),
    Inlet("entra_token", 9, {"kind": "azure", "auth": "entra", "base_url": "<URL>/openai/v1",
          "max_retries": 0}, {"AZURE_OPENAI_AD_TOKEN": "<KEY>"}, chat=echoes_the_request),
]  # fmt: skip

FROM_THE_USER = [
    Inlet("key_for_the_variables_name", 2, {"api_key_env": "<KEY>"}),
    Inlet("key_for_the_variables_name_by_set", 2,
          arguments=["--set", "teacher.api_key_env=<KEY>"]),
    Inlet("unknown_setting", 2, {"api_key": "<KEY>"}),
    Inlet("setting_of_a_wrong_type", 2, {"timeout_s": "<KEY>", "extra_body": "<KEY>"}),
    Inlet("set_without_equals", 2, arguments=["--set", "teacher.api_key:<KEY-=>"]),
    Inlet("set_of_an_unknown_key", 2, arguments=["--set", "teacher.api_key=<KEY>"]),
    Inlet("key_with_a_newline", 4, SENT, {VARIABLE: "<KEY>\nX-Other: <KEY>"}),
    Inlet("user_in_the_address", 2, {"base_url": "http://user:<KEY>@127.0.0.1:9/v1"}),
    Inlet("query_of_the_address", 0, {"base_url": "<URL>/v1?key=<KEY>"}),
    Inlet("query_of_an_address_that_echoes", 9, {"base_url": "<URL>/v1?key=<KEY>"},
          chat=echoes_the_request),
    Inlet("query_of_a_dead_address", 4, {"base_url": "http://127.0.0.1:9/v1?key=<KEY>"}),
    Inlet("extra_body", 0, {"extra_body": {"api_key": "<KEY>", "nested": {"token": ["<KEY>"]}}}),
    Inlet("extra_body_that_is_echoed", 9, {"extra_body": {"api_key": "<KEY>"}},
          chat=echoes_the_request),
    Inlet("extra_body_by_set", 0, arguments=["--set", "teacher.extra_body={api_key: '<KEY>'}"]),
    Inlet("proxy", 4, {"base_url": "http://teacher.invalid/v1"},
          {"http_proxy": "http://user:<KEY>@127.0.0.1:9", "no_proxy": ""}),
]  # fmt: skip
INLETS = [*BACK_FROM_THE_SERVER, *FROM_THE_USER]


def server_for(inlet: Inlet, canary: Canary) -> FaultyServer:
    script = inlet.chat(canary) if inlet.chat else None
    server = FaultyServer(lambda *_: script)
    if inlet.models:
        server.on_models = inlet.models(canary)
    return server
