"""What every server of ours bounds: how slowly a head or a body comes, and how large it is."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = 10.0  # seconds from a connection to its first whole head
LONGEST_HEAD = 16 * 1024  # bytes


class PromptProtocol(H11Protocol):
    """Closes a connection that sends no whole head in time, where uvicorn would wait for ever."""

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waits = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits is not None:
            self._waits.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


def says_too_much(headers: Headers, max_body: int) -> bool:
    """Whether the head alone tells that the body is larger than `max_body` bytes."""
    length = headers.get("content-length", "0")
    return length.isdecimal() and int(length) > max_body


def bounded(receive: Receive, *, max_body: int, timeout: float) -> Receive:
    """`receive` that ends with 413 after `max_body` bytes, with 408 where a piece takes `timeout`
    seconds. What comes after the body, such as the end of the connection, may take as long as it
    likes.
    """
    size, whole = 0, False

    async def receive_bounded() -> Message:
        nonlocal size, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(timeout):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the body did not arrive in time") from None
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
        if size > max_body:
            raise HTTPException(413, too_large(max_body))
        return message

    return receive_bounded


def too_large(max_body: int) -> str:
    return f"the body is larger than {max_body} bytes"
