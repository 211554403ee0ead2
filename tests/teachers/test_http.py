"""The transport against a server that misbehaves byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from yarl import URL

from mwalimu.teachers.base import RowError, TransientError
from mwalimu.teachers.http import HttpReply, HttpTransport, is_loopback
from tests.held import traced
from tests.teachers.raw_server import RawServer, Script, Step, http

KEY = "sk-canary-0123456789"
HEADERS = {"Authorization": f"Bearer {KEY}"}
OK = http(body=b'{"fine": true}')


def talk(
    script: Script | Sequence[Step] | bytes,
    calls: Callable[[HttpTransport, URL], Awaitable[object]] | None = None,
    *,
    timeout_s: float = 5.0,
    idle_s: float = 5.0,
    max_bytes: int = 1 << 20,
) -> tuple[object, RawServer]:
    """What a call gives or raises, against a server that plays `script`."""

    async def client(url: URL) -> object:
        transport = HttpTransport(
            concurrency=4, timeout_s=timeout_s, idle_s=idle_s, max_bytes=max_bytes
        )
        try:
            if calls is not None:
                return await calls(transport, url)
            return await transport.post(url, b'{"q": 1}', HEADERS)
        except (TransientError, RowError) as error:
            return error
        finally:
            await transport.close()

    with RawServer(script if callable(script) else lambda _: script) as server:
        return asyncio.run(client(URL(f"{server.url}/v1/chat"))), server


def test_an_exchange_says_what_it_must_and_no_more() -> None:
    reply, server = talk(http(body=b'{"fine": true}', headers={"X-Thing": "a"}))
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (200, b'{"fine": true}')
    assert reply.headers["x-thing"] == "a"
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.raw) == ("POST", "/v1/chat", b'{"q": 1}')
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["user-agent"].startswith("mwalimu/")
    assert "cookie" not in seen.headers


def test_connections_are_kept_and_cookies_are_not() -> None:
    async def three(transport: HttpTransport, url: URL) -> None:
        for _ in range(3):
            await transport.post(url, b"{}", HEADERS)

    _, server = talk(http(body=b"{}", headers={"Set-Cookie": "a=b"}), three)
    assert server.connections == 1
    assert all("cookie" not in seen.headers for seen in server.seen)


def test_no_redirect_is_followed() -> None:
    reply, server = talk(http(307, headers={"Location": "http://127.0.0.1:1/steal"}))
    assert isinstance(reply, HttpReply) and reply.status == 307
    assert len(server.seen) == 1


BODY = b'{"fine": true}'


def packed(body: bytes, encoding: str) -> bytes:
    return http(body=body, headers={"Content-Encoding": encoding})


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE: dict[str, Sequence[Step]] = {
    "headers and body apart": [http(length=len(BODY)), 0.05, BODY],
    "byte by byte": [http(length=len(BODY)), *(x for b in BODY for x in (bytes([b]), 0.002))],
    "chunked": [CHUNKED + b"5\r\n" + BODY[:5] + b"\r\n9\r\n" + BODY[5:] + b"\r\n0\r\n\r\n"],
    "chunks apart": [CHUNKED, b"e\r\n", 0.02, BODY[:5], 0.02, BODY[5:], b"\r\n0\r\n\r\n"],
    "until the end": [b"HTTP/1.0 200 OK\r\n\r\n" + BODY, "close"],
    "after a 100": [b"HTTP/1.1 100 Continue\r\n\r\n" + http(body=BODY)],
    "gzip, though not asked": [packed(gzip.compress(BODY), "gzip")],
    "deflate": [packed(zlib.compress(BODY), "deflate")],
    "raw deflate": [packed(zlib.compress(BODY)[2:-4], "Deflate")],
    "identity": [packed(BODY, "identity")],
}  # fmt: skip


@pytest.mark.parametrize("steps", WHOLE.values(), ids=WHOLE)
def test_an_answer_arrives_whole_however_it_is_cut(steps: Sequence[Step]) -> None:
    reply, _ = talk(steps)
    assert isinstance(reply, HttpReply) and reply.body == BODY


LOST: dict[str, tuple[Sequence[Step], str]] = {
    "reset before headers": (["reset"], "connection lost"),
    "closed before headers": (["close"], "connection lost"),
    "closed within headers": ([b"HTTP/1.1 200 OK\r\nContent-Le", "close"], "connection lost"),
    "reset after headers": ([http(length=14), 0.02, "reset"], "connection lost"),
    "cut body": ([http(body=b'{"fi', length=14), "close"], "connection lost"),
    "cut chunk": ([CHUNKED + b"ff\r\nabc", 0.02, "close"], "connection lost"),
    "a chunk of no size": ([CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n"], "broken HTTP answer"),
    "a chunk that never ends": ([CHUNKED + b"5\r\nabcde", 30.0], "stalled"),
    "a body that never begins": ([http(length=14), 30.0], "stalled"),
    "a length that is too long": ([http(body=BODY, length=99), 30.0], "stalled"),
    "a length that is no number": (
        [b"HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\nabc", 30.0],
        "broken HTTP answer",
    ),
    "two lengths": (
        [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 30.0],
        "broken HTTP answer",
    ),
    "no HTTP at all": ([b"SSH-2.0-OpenSSH_9.6\r\n", 30.0], "broken HTTP answer"),
    "a long header": ([http(body=BODY, headers={"X-Long": "x" * 100_000})], "broken HTTP answer"),
    "a flood of headers": (
        [http(body=BODY, headers={f"X-{i}": "x" for i in range(10_000)})],
        "broken HTTP answer",
    ),
    "a long first line": ([b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n"], "broken HTTP answer"),
    "damaged gzip": (
        [http(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})],
        "damaged compressed",
    ),
    "brotli": ([http(body=BODY, headers={"Content-Encoding": "br"})], "nobody asked for"),
}


@pytest.mark.parametrize(("steps", "reason"), LOST.values(), ids=LOST)
def test_a_broken_answer_is_transient_and_may_have_been_paid(
    steps: Sequence[Step], reason: str
) -> None:
    error, _ = talk(steps, idle_s=0.3)
    assert isinstance(error, TransientError) and reason in error.reason
    assert error.ambiguous and not error.unreachable
    assert_hides_the_key(error)


def test_a_model_may_think_longer_than_the_idle_deadline() -> None:
    reply, _ = talk([0.5, OK], idle_s=0.2)
    assert isinstance(reply, HttpReply)


SLOW: dict[str, Sequence[Step]] = {
    "no headers": [30.0],
    "drops of a body": [http(length=1000), *(x for _ in range(300) for x in (b"x", 0.1))],
    "drops of headers": [b"HTTP/1.1 200 OK\r\n", *(x for _ in range(300) for x in (b"x", 0.1))],
    "a 100 again and again": [x for _ in range(300) for x in (b"HTTP/1.1 100 C\r\n\r\n", 0.1)],
}


@pytest.mark.parametrize("steps", SLOW.values(), ids=SLOW)
def test_nothing_outlives_the_total_deadline(steps: Sequence[Step]) -> None:
    began = time.monotonic()
    error, _ = talk(steps, timeout_s=0.6, idle_s=0.4)
    assert isinstance(error, TransientError) and error.ambiguous
    assert "no answer within 0.6 s" in error.reason
    assert time.monotonic() - began < 2


def assert_refused_early(ask: Callable[[], object]) -> None:
    def refused() -> None:
        error = ask()
        assert isinstance(error, RowError) and "larger than 1 MiB" in str(error) and error.billed

    _, peak = traced(refused)
    assert peak < 16 << 20


def test_a_large_answer_is_refused_before_it_is_read() -> None:
    steps = [http(length=1 << 30), *([b"x" * (1 << 20)] * 200)]
    assert_refused_early(lambda: talk(steps)[0])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused_before_it_is_unpacked(encoding: str) -> None:
    plain = b"x" * (200 << 20)
    bomb = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    del plain
    packed = http(body=bomb, headers={"Content-Encoding": encoding})
    assert_refused_early(lambda: talk(packed)[0])


def test_a_late_second_answer_is_never_taken_for_the_next_one() -> None:
    """HTTP/1.1 has no ids: what lies in a kept connection would be joined to the wrong prompt."""
    first: Sequence[Step] = [http(body=b"first"), 0.05, http(body=b"a stranger's")]
    answers: Iterator[Sequence[Step]] = iter((first, [http(body=b"second")]))

    async def two(transport: HttpTransport, url: URL) -> list[bytes | str]:
        got: list[bytes | str] = [(await transport.post(url, b"{}", HEADERS)).body]
        await asyncio.sleep(0.2)
        for _ in range(2):
            try:
                got.append((await transport.post(url, b"{}", HEADERS)).body)
            except TransientError as error:
                assert not error.ambiguous and not error.unreachable
                got.append(error.reason)
        return got

    got, _ = talk(lambda _: next(answers), two)
    assert got == [b"first", "connection out of step", b"second"]


def test_a_body_with_too_many_bytes_does_not_spoil_the_next() -> None:
    bodies = iter((http(body=BODY + b"junk", length=len(BODY)), http(body=BODY)))

    async def two(transport: HttpTransport, url: URL) -> bytes:
        with pytest.raises(TransientError, match="broken HTTP answer"):
            await transport.post(url, b"{}", HEADERS)
        return (await transport.post(url, b"{}", HEADERS)).body

    got, server = talk(lambda _: next(bodies), two)
    assert got == BODY
    assert server.connections == 2


def test_a_large_request_goes_out_whole() -> None:
    body = b"x" * (3 << 20)

    async def large(transport: HttpTransport, url: URL) -> HttpReply:
        return await transport.post(url, body, HEADERS)

    reply, server = talk(OK, large)
    assert isinstance(reply, HttpReply) and reply.status == 200
    assert server.seen[0].raw == body


def refused(url: str, timeout_s: float = 5.0) -> TransientError:
    async def client() -> TransientError:
        transport = HttpTransport(concurrency=1, timeout_s=timeout_s, idle_s=5.0)
        try:
            with pytest.raises(TransientError) as caught:
                await transport.post(URL(url), b"{}", HEADERS)
            return caught.value
        finally:
            await transport.close()

    return asyncio.run(client())


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_what_fails_before_sending_was_not_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(f"http://127.0.0.1:{closed_port()}/v1")
    assert (error.reason, error.ambiguous) == ("connection refused", False)
    assert error.unreachable
    assert_hides_the_key(error)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    error = refused("http://no-such-host.invalid/v1")
    assert (error.reason, error.ambiguous) == ("host name not resolved", False)


async def post_over_tls(context: ssl.SSLContext | None) -> TransientError:
    """Against a server that has this certificate, or knows nothing of TLS."""

    async def talk_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(400))
        writer.close()

    server = await asyncio.start_server(talk_http, "127.0.0.1", 0, ssl=context)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's own alarm
    transport = HttpTransport(concurrency=1, timeout_s=5, idle_s=5)
    try:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransientError) as caught:
            await transport.post(URL(f"https://127.0.0.1:{port}/v1"), b"{}", HEADERS)
        return caught.value
    finally:
        await transport.close()
        server.close()


def test_a_server_without_tls_fails_before_sending() -> None:
    error = asyncio.run(post_over_tls(None))
    assert (error.reason, error.ambiguous) == ("TLS handshake failed", False)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
def test_an_unknown_certificate_is_refused_before_sending(tmp_path: Path) -> None:
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subject = ["-nodes", "-days", "1", "-subj", "/CN=teacher"]
    subprocess.run([*made, *subject, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    error = asyncio.run(post_over_tls(context))
    assert error.reason == "TLS certificate refused (self-signed certificate)"
    assert not error.ambiguous


def test_a_full_backlog_is_not_ambiguous() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        error = refused(f"http://127.0.0.1:{address[1]}/v1", timeout_s=1.0)
        for filler in fillers:
            filler.close()
    assert (error.reason, error.ambiguous) == ("not connected in time", False)


def test_the_environments_proxy_is_used_but_never_for_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RawServer(lambda _: OK) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        reply, server = talk(OK)
        assert isinstance(reply, HttpReply) and not proxy.seen and len(server.seen) == 1

        async def through() -> int:
            transport = HttpTransport(concurrency=1, timeout_s=5, idle_s=5)
            try:
                return (await transport.post(URL("http://teacher.invalid/v1"), b"{}", {})).status
            finally:
                await transport.close()

        assert asyncio.run(through()) == 200
        assert proxy.seen[0].headers["host"] == "teacher.invalid"


def test_cancelling_leaves_nothing_behind() -> None:
    async def cancelled(transport: HttpTransport, url: URL) -> str:
        call = asyncio.create_task(transport.post(url, b"{}", HEADERS))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return "done"

    got, _ = talk([http(length=5), 30.0], cancelled)
    assert got == "done"


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert is_loopback("0.0.0.0")
    assert not any(map(is_loopback, ("localhost.example", "10.0.0.1", "api.openai.com", "")))


def assert_hides_the_key(error: BaseException) -> None:
    """Neither in the text nor in anything that a logger could walk to."""
    link: BaseException | None = error
    while link is not None:
        assert KEY not in f"{link!s}{link!r}{vars(link)!r}{link.args!r}"
        assert link.__traceback__ is not None
        link = link.__cause__ or link.__context__
