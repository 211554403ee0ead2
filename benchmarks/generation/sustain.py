"""Is the mock fast enough? Raw sockets against it, each with one request under way."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator

from bench import Row, Settings, prompt
from processes import MockTeacher, cores, pin
from server import AFTER, BEFORE, BETWEEN, PLACE

SIZE = len(BEFORE + BETWEEN + AFTER) + 2 * len(PLACE)  # of every answer


def measure(settings: Settings) -> Row:
    """Requests a second of the wall clock, and of the server's CPU time: a busy machine shows."""
    requests = iter([request(prompt(number)) for number in range(settings.n)])
    with MockTeacher() as teacher:
        pin(cores()[1])
        start, cpu = time.monotonic(), teacher.cpu_s()
        done = ask(requests, teacher.port, settings.concurrency)
        seconds, cpu = time.monotonic() - start, teacher.cpu_s() - cpu
        pin(cores()[0])
        billed = teacher.count()
    assert done == billed == settings.n, (done, billed, settings.n)
    return {"n": done, "per_s": done / seconds, "per_cpu_s": done / cpu}


def request(text: str) -> bytes:
    message = {"role": "user", "content": text}
    body = json.dumps({"model": "mock", "messages": [message], "max_tokens": 512}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    return (head % len(body)).encode() + body


def ask(requests: Iterator[bytes], port: int, connections: int) -> int:
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(next(requests))
        selector.register(sock, selectors.EVENT_READ)
    done = 0
    while selector.get_map():
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            got = sock.recv(SIZE, socket.MSG_WAITALL)
            assert len(got) == SIZE
            done += 1
            if following := next(requests, None):
                sock.sendall(following)
            else:
                selector.unregister(sock)
                sock.close()
    return done
