"""A teacher that misbehaves on demand, down to the byte, and keeps books on what it did.

Its answer is the hash of the question, so one that was joined to the wrong prompt is seen. What it
can do wrong is in `faults_*.py`; each kind says what a client has to make of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

CHAT, MODELS = ("/chat/completions", "/messages"), "/models"
STRAY = "/elsewhere"  # where redirects point; nobody may ask there

Plan = Callable[[int, str], "Callable[[Exchange], Any] | None"]
"""(number of the chat request, prompt) -> what to do instead of answering."""


def answer_to(prompt: str) -> str:
    return f"answer {hashlib.sha256(prompt.encode()).hexdigest()[:24]}"


class Exchange:
    """One request on its connection, and the ways to answer it."""

    def __init__(
        self, server: FaultyServer, writer: asyncio.StreamWriter, head: str, raw: bytes
    ) -> None:
        first, *lines = head.strip().split("\r\n")
        self.server = server
        self.writer = writer
        self.path = first.split(" ")[1]
        self.headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
        self.body: dict[str, Any] = json.loads(raw) if raw else {}
        self.prompt: str = self.body["messages"][-1]["content"] if "messages" in self.body else ""

    def completion(
        self, message: Mapping[str, Any] | None = None, choice: Mapping[str, Any] = {}, **top: Any
    ) -> dict[str, Any]:
        """The right answer, with some of its fields changed."""
        said = {"role": "assistant", "content": answer_to(self.prompt)} | dict(message or {})
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "tiny",
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"} | dict(choice)],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        } | top

    def whole(self) -> bytes:
        return json.dumps(self.completion()).encode()

    def http(
        self,
        body: bytes,
        status: int | str = 200,
        headers: Mapping[str, str] = {},
        length: int | str | None = None,
    ) -> bytes:
        """A response; `length` may lie, and "" leaves it out."""
        stated = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status} Words", "Content-Type: application/json"]
        lines += [f"Content-Length: {stated}"] if stated != "" else []
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, body: bytes | None = None, **how: Any) -> None:
        await self.write(self.http(self.whole() if body is None else body, **how))

    def reset(self) -> None:
        """RST: what was written may be lost on the way."""
        _linger(self.writer, 0)
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class FaultyServer:
    """Use as a context manager, which sets `url`.

    `asked` counts by prompt every chat request that arrived, `billed` those whose work was done,
    `whole` those whose right answer went out to its last byte. `hit` are the prompts of faults.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan
        self.on_models: Callable[[Exchange], Any] | None = None
        self.url = ""
        self.number = self.strayed = 0
        self.asked: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.hit: list[str] = []
        self._port = 0
        self.transports: set[asyncio.WriteTransport] = set()
        self._beginning: set[asyncio.Task[Any]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._side_task: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()

    def forget(self) -> None:
        """Starts again with empty books and honest answers; nothing is left under way."""
        asyncio.run_coroutine_threadsafe(self._start_again(), self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        self._loop.run_until_complete(self._until_stopped())
        self._loop.close()

    async def _until_stopped(self) -> None:
        self._stop = asyncio.Event()
        await self.listen()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._ready.set()
        await self._stop.wait()
        await self._end()

    async def _start_again(self) -> None:
        await self._end()
        self.plan, self.number, self.hit = None, 0, []
        self.asked, self.billed, self.whole = Counter(), Counter(), Counter()
        await self.listen()

    async def _end(self) -> None:
        if self._side_task is not None:
            self._side_task.cancel()
            await asyncio.wait([self._side_task])
        await self.vanish()

    async def listen(self) -> None:
        """Comes (back) at the same address."""
        # Not asyncio's own server, which loses what it accepts while it is being closed.
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with suppress(OSError):  # the client thought better of it
            connection, _ = self._listener.accept()
            begin = self._loop.connect_accepted_socket(lambda: _Protocol(self), connection)
            task = self._loop.create_task(begin)
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def vanish(self) -> None:
        """Nobody listens, and every connection is dropped."""
        if self._listener.fileno() >= 0:  # it may be away already
            self._loop.remove_reader(self._listener)
            self._listener.close()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        for _ in range(4):  # turns of the loop: what was accepted just now begins, and ends
            for transport in list(self.transports):
                transport.abort()
            for task in self._connections:
                task.cancel()
            await asyncio.sleep(0)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something to the server itself, one thing at a time."""
        if self._side_task is None or self._side_task.done():
            self._side_task = asyncio.create_task(work)
        else:
            work.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, as long as it lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while not writer.is_closing() and (exchange := await self._read(reader, writer)):
                await self._answer(exchange)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server goes
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Exchange | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        length = next((x for x in head.lower().split("\r\n") if x.startswith("content-length")), "")
        raw = await reader.readexactly(int(length.partition(":")[2] or 0))
        return Exchange(self, writer, head, raw)

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.path.partition("?")[0]
        if path.endswith(MODELS):
            await self._list_models(exchange)
        elif path.endswith(CHAT):
            await self._chat(exchange)
        else:
            self.strayed += 1
            await exchange.reply(b"{}", status=404)

    async def _list_models(self, exchange: Exchange) -> None:
        if self.on_models is not None:
            await self.on_models(exchange)
        else:
            await exchange.reply(json.dumps({"data": [{"id": "tiny"}]}).encode())

    async def _chat(self, exchange: Exchange) -> None:
        self.number += 1
        self.asked[exchange.prompt] += 1
        fault = self.plan(self.number, exchange.prompt) if self.plan else None
        if fault is not None:
            self.hit.append(exchange.prompt)
            self.billed[exchange.prompt] += getattr(fault, "billed", False)
            await fault(exchange)
            return
        self.billed[exchange.prompt] += 1
        await exchange.reply()
        self.whole[exchange.prompt] += 1


class _Protocol(asyncio.StreamReaderProtocol):
    """Keeps account of the connections from their very first moment."""

    def __init__(self, server: FaultyServer) -> None:
        super().__init__(asyncio.StreamReader(limit=1 << 22), server.serve)
        self.server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.transports.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.transports.discard(self.transport)
        super().connection_lost(error)


def _linger(writer: asyncio.StreamWriter, seconds: int) -> None:
    option = struct.pack("ii", 1, seconds)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
