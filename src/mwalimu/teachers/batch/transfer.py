"""Large files over HTTP in constant memory, in both directions."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mwalimu.teachers.base import TransientError
from mwalimu.teachers.batch.base import RequestFile
from mwalimu.teachers.http import CONNECT_S, WBITS, HttpReply, HttpTransport

SLOWEST = 50_000  # bytes a second; a line that is slower than that counts as stalled
TOO_LONG = b"?"  # stands for a line above the limit


class Upload(NamedTuple):
    """A body around a file of requests."""

    head: bytes
    file: RequestFile
    tail: bytes
    content_type: str

    @property
    def size(self) -> int:
        return len(self.head) + self.file.size + len(self.tail)

    def pieces(self) -> Iterator[bytes]:
        yield self.head
        yield from self.file.pieces()
        yield self.tail


class Refused(Exception):
    """A status other than 200 where lines were expected."""

    def __init__(self, reply: HttpReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Transfer(HttpTransport):
    async def upload(self, url: URL, upload: Upload, headers: Mapping[str, str]) -> HttpReply:
        """Raises TransientError."""
        session = self._session or self._open(url)
        sent = CIMultiDict(headers)
        sent["Content-Type"] = upload.content_type
        sent["Content-Length"] = str(upload.size)
        total_s = self.timeout_s + upload.size / SLOWEST
        response: aiohttp.ClientResponse | None = None
        try:
            response = await session.post(
                url,
                data=_in_turn(upload.pieces()),
                headers=sent,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S),
            )
            raw = await self._rest(response.content)
            return HttpReply(response.status, response.headers, self._plain(response, raw))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = self._failure(error)
        finally:
            if response is not None:
                response.close()
        # Outside the handler: aiohttp's errors carry the request's headers, and so the key.
        raise failure

    async def lines(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The lines of a body as they come. Raises TransientError, Refused."""
        session = self._session or self._open(url)
        response: aiohttp.ClientResponse | None = None
        failure: TransientError | None = None
        try:
            response = await session.get(
                url,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=self.idle_s),
            )
            if response.status != 200:
                raw = await self._rest(response.content)
                body = self._plain(response, raw)
                raise Refused(HttpReply(response.status, response.headers, body))
            async for line in _split(_unpacked(response), self.max_bytes):
                yield line
        except (aiohttp.ClientError, TimeoutError, OSError, zlib.error) as error:
            failure = self._failure(error)
        finally:
            if response is not None:
                response.close()
        if failure is not None:
            raise failure


async def _in_turn(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _unpacked(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        async for piece in response.content.iter_any():
            yield piece
        return
    if encoding not in WBITS:
        raise TransientError("results in an encoding nobody asked for")
    unpacker = zlib.decompressobj(WBITS[encoding])
    async for piece in response.content.iter_any():
        yield unpacker.decompress(piece)
    yield unpacker.flush()


async def _split(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    size = 0
    async for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            fits = size + len(end) <= limit
            yield b"".join((*parts, end)) if fits else TOO_LONG
            parts.clear()
            size = 0
        size += len(rest)
        if size <= limit:
            parts.append(rest)
        else:
            parts.clear()  # what is too long is not even kept until its end
    if size:
        yield b"".join(parts) if size <= limit else TOO_LONG
