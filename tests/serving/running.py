"""A real server over a tiny model, in threads of this process, on a free loopback port."""

from __future__ import annotations

import copy
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwalimu.runtimes import Decoder, load_decoder
from mwalimu.serving.app import create_app
from mwalimu.serving.cascade_contract import Cascade
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.opening import open_served
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.server import Server
from mwalimu.serving.settings import Settings


@dataclass
class Running:
    url: str
    engine: Engine
    server: Server
    tokenizer: Any
    ends: frozenset[int]
    folder: Path
    made: list[Decoder] = field(default_factory=list)

    def settles(self, seconds: float = 60.0) -> bool:
        """Whether all slots and the queue become free."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.engine._running and not len(self.engine._waiting):
                return True
            time.sleep(0.01)
        return False


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.005)


@contextmanager
def running(
    folder: Path,
    *,
    slots: int = 4,
    queue: int = 64,
    load: Callable[[], Decoder] | None = None,
    cascade: Cascade | None = None,
    ready: bool = True,
    **settings: Any,
) -> Iterator[Running]:
    served = open_served(folder, "tiny")
    engine = Engine(
        load or (lambda: load_decoder(folder, slots=slots)),
        served.decoding,
        served.ends,
        queue=queue,
        metrics=Metrics(),
    )
    app = create_app(engine, copy.deepcopy(served.encoding), Settings("tiny", **settings), cascade)
    port = free_port()
    server = Server(app, engine, host="127.0.0.1", port=port, queue=queue + slots)
    started = threading.Event()
    thread = threading.Thread(
        target=server.serve_until_drained, kwargs={"on_started": started.set}, daemon=True
    )
    thread.start()
    try:
        assert started.wait(30)
        if ready:
            wait_until(lambda: engine.state == "serving")
        url = f"http://127.0.0.1:{port}"
        yield Running(url, engine, server, served.encoding, served.ends, folder)
    finally:
        engine.drain()
        thread.join(20)
        if thread.is_alive():
            server.force_exit = server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Slow:
    """A decoder whose every step takes a while, so that much can happen meanwhile."""

    def __init__(self, decoder: Decoder, seconds: float) -> None:
        self.decoder, self.seconds = decoder, seconds
        self.slots, self.context = decoder.slots, decoder.context
        self.vocabulary = decoder.vocabulary

    def prefill(self, slot: int, ids: Any) -> Any:
        return self.decoder.prefill(slot, ids)

    def step(self, tokens: Any) -> Any:
        time.sleep(self.seconds)
        return self.decoder.step(tokens)

    def release(self, slot: int) -> None:
        self.decoder.release(slot)

    def close(self) -> None:
        self.decoder.close()
