"""A mock teacher: the OpenAI chat protocol with next to no cost of its own, and a ledger.

    python benchmarks/generation/server.py --port 8000 --latency-ms 50 --jitter-ms 20

It answers every prompt with a function of that prompt, so a wrong, missing or swapped answer shows.
The ledger holds each accepted request (hash of the prompt, seconds of a monotonic clock): what a
real teacher would have billed, whether or not the client lived to read the answer. GET /ledger has
it, GET /count its length. Standard library only: HTTP libraries answer no faster than clients ask.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import signal
import time
from array import array
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path

# The prompt as it stands in the JSON, from the last message of a request, whose content is a string
# or a list of parts. Prompts are ASCII here, so every client writes the same bytes.
CONTENT = re.compile(rb'"(?:content|text)"\s*:\s*"((?:[^"\\]|\\.)*)"')
LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")
TEXT = "The mock teacher has thought about it. " * 7  # answers of about 300 characters
HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
PLACE = "0" * 16  # where the hash goes; it never changes the length of an answer


def prompt_hash(prompt: str) -> str:
    return _hash(json.dumps(prompt)[1:-1].encode())


def answer_to(prompt: str) -> str:
    return TEXT + prompt_hash(prompt)


def _hash(escaped: bytes) -> str:
    return blake2b(escaped, digest_size=8).hexdigest()


def _reply(status: str, content: object, extra: bytes = b"") -> bytes:
    body = json.dumps(content).encode()
    return HEAD % (status.encode(), len(body), extra) + body


def _answer_parts() -> list[bytes]:
    """The bytes of a whole answer around the hash."""
    message = {"role": "assistant", "content": TEXT + PLACE}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80}
    answer = {
        "id": f"chatcmpl-{PLACE}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "mock",
        "choices": [choice],
        "usage": usage,
    }
    return _reply("200 OK", answer).split(PLACE.encode())


BEFORE, BETWEEN, AFTER = _answer_parts()
MODELS = _reply("200 OK", {"object": "list", "data": [{"id": "mock", "object": "model"}]})
NOT_FOUND = _reply("404 Not Found", {"error": {"message": "no such path"}})
UNREADABLE = _reply("400 Bad Request", {"error": {"message": "no content in the last message"}})
NO_LENGTH = _reply("411 Length Required", {"error": {"message": "Content-Length is needed"}})
RETRY = b"Retry-After: 1\r\n"
TOO_MANY = _reply("429 Too Many Requests", {"error": {"message": "slow down"}}, RETRY)


class Ledger:
    """What was accepted, in order; `refused` counts those over the rate limit."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.times = array("d")
        self.refused = 0

    def accept(self, digest: str) -> None:
        self.hashes.append(digest)
        self.times.append(time.monotonic())

    def content(self) -> dict[str, object]:
        return {"hashes": self.hashes, "times": list(self.times), "refused": self.refused}


class Bucket:
    """Lets `rate` requests a second through, with a second's worth at once; 0: all of them."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.left = rate
        self.seen = time.monotonic()

    def take(self) -> bool:
        if not self.rate:
            return True
        now = time.monotonic()
        self.left = min(self.rate, self.left + (now - self.seen) * self.rate)
        self.seen = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Teacher:
    """From a whole request to its reply, and how long the reply waits."""

    def __init__(self, latency_ms: float, jitter_ms: float, rate_limit: float) -> None:
        self.latency_s = latency_ms / 1000
        self.jitter_s = jitter_ms / 1000
        self.bucket = Bucket(rate_limit)
        self.ledger = Ledger()

    def reply(self, head: bytes, body: bytes) -> tuple[bytes, float]:
        if head.startswith(b"POST"):
            return self._chat(body)
        path = head.split(b" ", 2)[1]
        if path == b"/v1/models":
            return MODELS, 0.0
        if path == b"/count":
            return _reply("200 OK", len(self.ledger.hashes)), 0.0
        if path == b"/ledger":
            return _reply("200 OK", self.ledger.content()), 0.0
        return NOT_FOUND, 0.0

    def _chat(self, body: bytes) -> tuple[bytes, float]:
        if not self.bucket.take():
            self.ledger.refused += 1
            return TOO_MANY, 0.0
        found = CONTENT.findall(body)
        if not found:
            return UNREADABLE, 0.0
        digest = _hash(found[-1])
        self.ledger.accept(digest)
        raw = digest.encode()
        # The jitter follows from the prompt too: every client meets the same teacher.
        spread = self.jitter_s * (int(digest[:4], 16) / 32767.5 - 1) if self.jitter_s else 0.0
        return b"".join((BEFORE, raw, BETWEEN, raw, AFTER)), self.latency_s + spread


class Connection(asyncio.Protocol):
    """One client's connection, kept open; a request may arrive in pieces."""

    def __init__(self, teacher: Teacher, later: Callable[..., object]) -> None:
        self.teacher = teacher
        self.later = later
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        while self.buffer and self._one_request():
            pass

    def _one_request(self) -> bool:
        """Answers the first whole request of the buffer; False when there is none."""
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head, start = buffer[:end], end + 4
        length = LENGTH.search(head)
        if length is None and head.startswith(b"POST"):
            self.transport.write(NO_LENGTH)
            self.transport.close()
            return False
        stop = start + (int(length[1]) if length else 0)
        if len(buffer) < stop:
            return False
        self.buffer = buffer[stop:]
        reply, delay_s = self.teacher.reply(head, buffer[start:stop])
        if delay_s > 0:
            self.later(delay_s, self._send, reply)
        else:
            self.transport.write(reply)
        return True

    def _send(self, reply: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(reply)


async def serve(teacher: Teacher, port: int) -> None:
    """Until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    make = partial(Connection, teacher, loop.call_later)
    server = await loop.create_server(make, "127.0.0.1", port, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the first line says")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="latency is +- this much")
    parser.add_argument("--rate-limit", type=float, default=0.0, help="requests a second; 0: any")
    parser.add_argument("--ledger", type=Path, help="a file to write at the end")
    arguments = parser.parse_args()
    # There are no cycles to collect, and 50,000 ledger lines make each look for them longer.
    gc.disable()
    teacher = Teacher(arguments.latency_ms, arguments.jitter_ms, arguments.rate_limit)
    asyncio.run(serve(teacher, arguments.port))
    if arguments.ledger:
        arguments.ledger.write_text(json.dumps(teacher.ledger.content()), encoding="utf-8")


if __name__ == "__main__":
    main()
