"""What a server must bear: strangers, hang-ups, garbage, a full queue, its own end."""

import asyncio
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import openai
import pytest

from mwalimu.runtimes import load_decoder
from mwalimu.serving.cascade_contract import Escalated
from mwalimu.serving.completion import Completion
from mwalimu.serving.guard import digest
from tests.serving.running import Running, Slow, free_port, running, wait_until

KEY = "k" * 24
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}


def ask(
    server: Running, body: Any = CHAT, *, path: str = "/v1/chat/completions", **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, the JSON or text that came, the headers."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {"content-type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    connection.request("GET" if sent is None else "POST", path, sent, given)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    try:
        return response.status, json.loads(text), response.headers
    except ValueError:
        return response.status, text.decode(), response.headers


def test_another_host_or_origin_is_refused(server: Running) -> None:
    assert ask(server, CHAT | {"max_tokens": 2}, host="localhost:1")[0] == 200
    assert ask(server, host="evil.example")[0] == 403
    assert ask(server, host="127.0.0.1:1.evil")[0] == 403
    assert ask(server, origin="http://evil.example")[0] == 403
    assert ask(server, CHAT | {"max_tokens": 2}, origin="http://localhost:3000")[0] == 200


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": NaN}', b"null", b'"\\ud800"']
)
def test_garbage_is_a_bad_request(server: Running, garbage: bytes) -> None:
    status, found, headers = ask(server, garbage)
    assert status == 400 and found["error"]["type"] == "invalid_request_error"
    assert "server" not in headers


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\ud800\\u0041", "\\ud800 and more"])
def test_half_a_surrogate_pair_is_a_bad_request(server: Running, half: str) -> None:
    chat = f'{{"model": "tiny", "messages": [{{"role": "user", "content": "{half}"}}]}}'
    assert ask(server, chat.encode())[0] == 400
    tools = f'"tools": [{{"type": "function", "function": {{"name": "f", "x{half}": 1}}}}]'
    chat = json.dumps(CHAT)[:-1] + ", " + tools + "}"
    assert ask(server, chat.encode())[0] == 400


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "json"])
def test_what_a_page_may_send_unasked_is_no_request(server: Running, kind: str) -> None:
    status, found, _ = ask(server, CHAT, content_type=kind)
    assert status == 400 and "application/json" in found["error"]["message"]
    for good in ("application/json; charset=utf-8", "application/vnd.x+json"):
        assert ask(server, CHAT | {"max_tokens": 1}, content_type=good)[0] == 200


def test_unknown_paths_and_methods_have_the_shape_too(server: Running) -> None:
    for path, body, status in (("/v2", None, 404), ("/v1/chat/completions", None, 405)):
        found = ask(server, body, path=path)
        assert found[0] == status and "message" in found[1]["error"]


def test_a_key_is_needed_where_there_are_keys(folder: Path) -> None:
    with running(folder, keys=frozenset({digest(KEY), digest("other" * 5)})) as server:
        assert ask(server)[0] == 401
        assert ask(server, authorization="Bearer wrong" + KEY)[0] == 401
        assert ask(server, authorization=f"Basic {KEY}")[0] == 401
        status, found, _ = ask(server, None, path="/metrics")
        assert status == 401 and found["error"]["code"] == "invalid_api_key"
        assert ask(server, CHAT | {"max_tokens": 2}, authorization=f"Bearer {KEY}")[0] == 200
        assert ask(server, None, path="/health")[0] == 200


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_is_refused(folder: Path, chunked: bool) -> None:
    with running(folder, max_body=1000) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        body: Any = iter([b"x" * 600] * 2) if chunked else b"x" * 1200
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers, encode_chunked=chunked)
        assert connection.getresponse().status == 413
        connection.close()


def test_a_full_queue_says_when_to_come_back(folder: Path) -> None:
    with running(folder, queue=1, load=lambda: Slow(load_decoder(folder, slots=1), 0.05)) as server:
        body = CHAT | {"max_tokens": 20, "logprobs": False}
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: ask(server, body), range(6)))
        statuses = sorted(status for status, _, _ in found)
        assert set(statuses) == {200, 429} and statuses.count(200) >= 2
        refused = next(one for one in found if one[0] == 429)
        assert refused[2]["retry-after"] == "1" and refused[1]["error"]["code"] == "queue_full"
        assert server.settles()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_slot(folder: Path, stream: bool) -> None:
    with running(folder, load=lambda: Slow(load_decoder(folder, slots=1), 0.1)) as server:
        body = json.dumps(CHAT | {"max_tokens": 400, "stream": stream, "seed": 1}).encode()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_until(lambda: len(server.engine._running) == 1)
        assert server.settles(20), "long before 400 tokens are written"


def test_the_time_of_a_request_is_bounded(folder: Path) -> None:
    with running(
        folder, timeout=0.3, load=lambda: Slow(load_decoder(folder, slots=1), 0.2)
    ) as server:
        body = CHAT | {"max_tokens": 400, "stop": "never this"}
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda _: ask(server, body), range(3)))
        assert {status for status, _, _ in found} <= {503, 504}
        assert {one["error"]["code"] for _, one, _ in found} == {"deadline"}
        assert server.settles(20), "long before 400 tokens are written"


def test_a_decoder_that_fails_is_said_and_the_server_goes_on(folder: Path) -> None:
    class Failing(Slow):
        fails = True

        def step(self, tokens: Any) -> Any:
            if self.fails:
                raise RuntimeError("out of memory")
            return super().step(tokens)

    made = Failing(load_decoder(folder, slots=2), 0)
    with running(folder, load=lambda: made) as server:
        status, found, _ = ask(server)
        assert status == 500 and "memory" not in found["error"]["message"]
        made.fails = False
        assert ask(server, CHAT | {"max_tokens": 3})[0] == 200


def test_health_while_loading_and_draining(folder: Path) -> None:
    def load() -> Any:
        time.sleep(0.5)
        return Slow(load_decoder(folder, slots=1), 0.03)

    with running(folder, load=load, ready=False) as server:
        status, found, headers = ask(server, None, path="/health")
        assert status == 503 and found["error"]["code"] == "loading" and headers["retry-after"]
        assert ask(server)[0] == 503
        wait_until(lambda: server.engine.state == "serving")
        assert ask(server, None, path="/health")[0] == 200
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            body = CHAT | {"max_tokens": 20, "stop": "never this"}
            going = pool.submit(ask, server, body)
            wait_until(lambda: len(server.engine._running) == 1)
            server.engine.drain()
            assert ask(server, None, path="/health")[1]["error"]["code"] == "draining"
            assert ask(server)[0] == 503
            assert going.result()[0] == 200, "what runs is finished"


def test_metrics_count_what_happened(folder: Path) -> None:
    with running(folder) as server:
        ask(server, CHAT | {"max_tokens": 5})
        ask(server, b"{")
        text = str(ask(server, None, path="/metrics")[1])
        assert 'mwalimu_requests_total{status="200"} 1.0' in text
        assert 'mwalimu_requests_total{status="400"} 1.0' in text
        assert "mwalimu_slots_in_use 0.0" in text and "mwalimu_queue_depth 0.0" in text
        assert "mwalimu_first_token_seconds_count 1.0" in text


@pytest.mark.parametrize("better", [True, False])
def test_a_cascade_decides_whose_answer_it_is(folder: Path, better: bool) -> None:
    seen: list[Completion] = []

    class Second:
        counts: ClassVar = {"escalated": 2 * better, "not text": 3}
        spent_usd = 0.25

        async def second(self, messages: Any, student: Completion, *, max_tokens: int) -> Any:
            assert messages == CHAT["messages"] and max_tokens == 5
            seen.append(student)
            return Escalated("better", "stop", 0.01, "teacher") if better else None

    with running(folder, cascade=Second()) as server:
        options: Any = CHAT | {"max_tokens": 5}
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
            whole = client.chat.completions.create(**options)
            parts = list(client.chat.completions.create(stream=True, **options))
        text = "".join(part.choices[0].delta.content or "" for part in parts)
        assert whole.choices[0].message.content == text
        assert (text == "better") == better and (whole.model == "teacher") == better
        assert seen[0] == seen[1] and len(seen[0].ids) == len(seen[0].token_log_probs)


def test_a_command_serves_and_ends_when_told(folder: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "mwalimu", "serve", str(folder), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"serving tiny at http://127.0.0.1:{port}/v1\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_both_clients_use_the_same_loop_without_harm(server: Running) -> None:
    async def hang_up_midway() -> None:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
            options: Any = CHAT | {"max_tokens": 400}
            stream = await client.chat.completions.create(stream=True, **options)
            async for _ in stream:
                break
            await stream.close()

    asyncio.run(hang_up_midway())
    assert server.settles()
