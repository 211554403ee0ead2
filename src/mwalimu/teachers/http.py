"""Bytes out, bytes in: one pooled HTTP session, with every bound that a long run needs.

It never retries (the engine does), follows no redirect (a key must not travel to another host),
keeps no cookie, and reads no more than it was told to. What goes wrong becomes a TransientError
whose text holds neither headers nor addresses.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from mwalimu import __version__
from mwalimu.teachers.base import RowError, TransientError
from mwalimu.telemetry import context, tracing
from mwalimu.telemetry.setting_up import is_on

MAX_BYTES = 64 << 20  # of an answer, packed or unpacked
CONNECT_S = 30.0  # TCP and TLS, for each of the host's addresses
KEEPALIVE_S = 4.0  # below the 5 s after which usual servers close: they must not be the first
LARGE_BODY = 1 << 20  # aiohttp wants a file for more
WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class HttpReply(NamedTuple):
    status: int
    headers: Mapping[str, str]  # of any case
    body: bytes


class HttpTransport:
    """One server's connections; opened in the loop of the first call.

    Args:
        concurrency: connections at most.
        timeout_s: for a whole exchange, from the connection to the last byte.
        idle_s: between two pieces of a body, once the headers are there. Before that a model may
            think as long as `timeout_s`.
    """

    def __init__(
        self, *, concurrency: int, timeout_s: float, idle_s: float, max_bytes: int = MAX_BYTES
    ) -> None:
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.idle_s = idle_s
        self.max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> HttpReply:
        """Raises TransientError, or RowError for an answer above `max_bytes`."""
        data = body if len(body) <= LARGE_BODY else io.BytesIO(body)
        return await self._exchange("POST", url, headers, data, None)

    async def get(self, url: URL, headers: Mapping[str, str], timeout_s: float) -> HttpReply:
        """As `post`, with a deadline of its own."""
        return await self._exchange("GET", url, headers, None, _timeout(timeout_s))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        data: bytes | io.BytesIO | None,
        timeout: aiohttp.ClientTimeout | None,
    ) -> HttpReply:
        session = self._session or self._open(url)
        response: aiohttp.ClientResponse | None = None
        try:
            response = await session.request(
                method,
                url,
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=timeout or session.timeout,
            )
            content = response.content
            # Most answers are whole by now: neither a timer nor another turn of the loop.
            raw = content.read_nowait() if content.is_eof() else await self._rest(content)
            return HttpReply(response.status, response.headers, self._plain(response, raw))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = self._failure(error)
        finally:
            if response is not None and not response.closed:
                response.close()
        # Outside the handler: aiohttp's errors carry the request's headers, and so the key.
        raise failure

    async def _rest(self, content: aiohttp.StreamReader) -> bytes:
        """The body as it comes, under the idle deadline."""
        pieces: list[bytes] = []
        size = 0
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self.idle_s) as clock:
                while piece := await content.readany():
                    size += len(piece)
                    if size > self.max_bytes:
                        raise self._too_large()
                    pieces.append(piece)
                    clock.reschedule(now() + self.idle_s)
        except TimeoutError:
            if not clock.expired():
                raise
            reason = f"the answer stalled for {self.idle_s:g} s"
            raise TransientError(reason, ambiguous=True) from None
        return b"".join(pieces)

    def _plain(self, response: aiohttp.ClientResponse, raw: bytes) -> bytes:
        """Unpacks what was packed though nobody asked for it, within bounds."""
        if len(raw) > self.max_bytes:
            raise self._too_large()
        encoding = response.headers.get("Content-Encoding")
        if encoding is None or encoding.lower() == "identity":
            return raw
        bits = WBITS.get(encoding.strip().lower())
        if bits is None:
            raise TransientError("an answer in an encoding nobody asked for", ambiguous=True)
        if bits == 15 and raw and raw[0] & 15 != 8:
            bits = -15  # a deflate without its zlib header is as common as one with it
        unpacker = zlib.decompressobj(bits)
        try:
            plain = unpacker.decompress(raw, self.max_bytes)
        except zlib.error:
            raise TransientError("a damaged compressed answer", ambiguous=True) from None
        if unpacker.unconsumed_tail:
            raise self._too_large()
        return plain

    def _too_large(self) -> RowError:
        return RowError(f"the answer is larger than {self.max_bytes >> 20} MiB", billed=True)

    def _failure(self, error: Exception) -> TransientError:
        if (reason := _before_sending(error)) is not None:
            return TransientError(reason, unreachable=not isinstance(error, _OutOfStep))
        if isinstance(error, TimeoutError):
            return TransientError(f"no answer within {self.timeout_s:g} s", ambiguous=True)
        if isinstance(error, aiohttp.ClientResponseError):
            return TransientError("broken HTTP answer", ambiguous=True)
        # The request went out: the server may have done the work, and billed it.
        return TransientError(f"connection lost ({type(error).__name__})", ambiguous=True)

    def _open(self, url: URL) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.concurrency, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=300
            ),
            timeout=_timeout(self.timeout_s),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"mwalimu/{__version__}",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            request_class=_Request,
            proxy=_proxy(url),
            trace_configs=_named() if is_on() else None,
        )
        return self._session


def _named() -> list[aiohttp.TraceConfig]:
    """Puts on every request the headers by which a server's records can be joined with ours."""

    async def name(_session: object, _context: object, request: Any) -> None:
        request.headers.update(tracing.headers())
        if (key := context.field("request")) is not None:
            request.headers["X-Request-Id"] = key

    config = aiohttp.TraceConfig()
    config.on_request_start.append(name)
    return [config]


class _OutOfStep(aiohttp.ClientConnectionError):
    """A kept connection holds bytes that no request asked for."""


class _Request(aiohttp.ClientRequest):
    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        # A late second answer to the request before would be taken for the answer to this one.
        if conn.protocol is None or conn.protocol.should_close:
            raise _OutOfStep
        return await super().send(conn)


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _timeout(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=min(CONNECT_S, total_s / 2))


def _proxy(url: URL) -> str | None:
    """The environment's proxy for this server, looked up once; loopback never needs one."""
    host = url.host or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(url.scheme)


def _before_sending(error: Exception) -> str | None:
    """Why nothing was sent at all; None if something may have been."""
    match error:
        case _OutOfStep():
            return "connection out of step"
        case aiohttp.ClientConnectorCertificateError():
            problem = getattr(error.certificate_error, "verify_message", "")
            return f"TLS certificate refused ({problem or 'wrong host'})"
        case aiohttp.ClientConnectorSSLError():
            return "TLS handshake failed"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return "no way through the proxy"
        case aiohttp.ClientConnectorDNSError():
            return "host name not resolved"
        case aiohttp.ConnectionTimeoutError():
            return "not connected in time"
        case aiohttp.ClientConnectorError():
            number = error.errno
            return os.strerror(number).lower() if number and number > 0 else "not connected"
    return None
