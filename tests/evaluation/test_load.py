import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mwalimu.config import LoadConfig
from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError
from mwalimu.evaluation import load
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.load import Served, arrival_times, closed_loop, open_loop, percentiles
from mwalimu.evaluation.load_targets import local_ask, server_ask, under_load
from tests.tiny import make_tiny_model

ROWS = [Record(str(i), "qa", (Message("user", f"question {i}"),)) for i in range(3)]


class Server:
    """Takes `seconds` a request; notes how many were in it at the same time."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.inside = self.most = 0
        self.asked: list[int] = []
        self.lock = threading.Lock()

    def __call__(self, number: int) -> Served:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.asked.append(number)
        time.sleep(self.seconds)
        with self.lock:
            self.inside -= 1
        return Served(0.001, 3)


@pytest.mark.parametrize("clients", [1, 3])
def test_a_closed_loop_keeps_so_many_waiting(clients: int) -> None:
    server = Server()
    found = closed_loop(server, 9, clients)
    assert server.most == clients
    assert sorted(server.asked) == sorted([0, 1, *range(9)])  # two of them to warm up
    assert (found["requests"], found["failed"], found["clients"]) == (9, 0, clients)
    assert found["seconds"] >= 9 * 0.02 / clients
    assert found["requests_per_s"] == pytest.approx(9 / found["seconds"])
    assert found["tokens_per_s"] == pytest.approx(27 / found["seconds"])
    assert found["latency_s"]["p50"] >= 0.02 and found["first_token_s"]["p50"] == 0.001


def test_an_open_loop_counts_the_waiting_from_the_arrival(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load, "MOST_THREADS", 1)  # who waits for a thread waits too

    def ask(number: int) -> Served:
        time.sleep(0.02)
        return Served(None, 1)

    # All arrive nearly at once: the last waits for all others.
    found = open_loop(ask, 8, rate=10_000, seed=0)
    assert found["latency_s"]["p99"] > 7 * 0.02
    assert found["latency_s"]["p50"] > 3 * 0.02
    assert found["first_token_s"] == {"p50": None, "p95": None, "p99": None}


def test_arrivals_are_a_poisson_process() -> None:
    times = arrival_times(2000, rate=5.0, seed=1)
    gaps = np.diff([0.0, *times])
    assert times == arrival_times(2000, rate=5.0, seed=1) != arrival_times(2000, rate=5.0, seed=2)
    assert stats.kstest(gaps, stats.expon(scale=1 / 5).cdf).pvalue > 0.01


def test_failures_are_counted_and_have_no_latency() -> None:
    def ask(number: int) -> Served:
        if number % 2:
            raise ConnectionError
        return Served(None, 1)

    found = closed_loop(ask, 6, 2)
    assert found["failed"] == 3 and found["requests_per_s"] == pytest.approx(3 / found["seconds"])
    everything = closed_loop(lambda number: ask(1), 4, 2)
    assert everything["failed"] == 4 and everything["latency_s"]["p50"] is None


def test_percentiles_are_numpys() -> None:
    seconds = [0.5, 0.1, 0.9, 0.3]
    found = percentiles(seconds)
    assert list(found.values()) == pytest.approx(list(np.percentile(seconds, [50, 95, 99])))


def test_the_student_here_is_asked(tmp_path: Path) -> None:
    answerer = load_answerer(make_tiny_model(tmp_path), max_tokens=3, trust_remote_code=False)
    settings = LoadConfig(clients=(1, 2), rate=1000.0, requests=4)
    found = under_load(settings, local_ask(answerer, ROWS), seed=0)
    assert [one["loop"] for one in found] == ["closed", "closed", "open"]
    assert all(one["failed"] == 0 and one["requests"] == 4 for one in found)
    long = [Record("long", "qa", (Message("user", "x" * 900),))]
    with pytest.raises(ConfigError, match="no test row fits"):
        local_ask(answerer, long)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        self.server.keys.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        for body in ('{"choices":[{"delta":{"role":"assistant"}}]}', '{"choices":[]}'):
            self.wfile.write(f"data: {body}\n\n".encode())
        time.sleep(0.01)
        for _ in range(2):
            self.wfile.write(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    found.keys = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def test_a_server_is_asked(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MWALIMU_LOAD_KEY", "k")
    url = f"http://127.0.0.1:{server.server_address[1]}"
    served = server_ask(LoadConfig(url=f"{url}/v1"), ROWS, max_tokens=3)(4)
    assert served.tokens == 2 and served.first_token_s and served.first_token_s >= 0.01
    assert server.keys == ["Bearer k"]  # type: ignore[attr-defined]
    found = closed_loop(server_ask(LoadConfig(url=url), ROWS, max_tokens=3), 3, 1)
    assert found["failed"] == 3  # a 404 is an OSError
    with pytest.raises(ConfigError, match="no http address"):
        server_ask(LoadConfig(url="file:///etc"), ROWS, max_tokens=3)
