"""Many requests at the same time: what each waits, and how many get through.

Closed loop: so many clients, each asking again when it is answered. Open loop: requests arrive by a
Poisson process whether or not earlier ones are answered, and waiting is counted from the arrival
(no coordinated omission).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

WARM_UP = 2
MOST_THREADS = 256


@dataclass(frozen=True, slots=True)
class Served:
    """Of one request: seconds to its first token, None where nobody saw it; its tokens."""

    first_token_s: float | None
    tokens: int


Ask = Callable[[int], Served]
"""Answers the request with this number, from any thread; raises OSError where it fails."""


@dataclass(frozen=True, slots=True)
class _Done:
    latency_s: float
    served: Served | None  # None: it failed


def closed_loop(ask: Ask, requests: int, clients: int) -> dict[str, Any]:
    """`clients` threads share `requests` requests."""
    _warm_up(ask, requests)
    numbers, lock = iter(range(requests)), threading.Lock()

    def client(_: int) -> list[_Done]:
        done: list[_Done] = []
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return done
            done.append(_timed(ask, number, time.perf_counter()))

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = [one for found in pool.map(client, range(clients)) for one in found]
    seconds = time.perf_counter() - started
    return {"loop": "closed", "clients": clients} | _summary(done, seconds)


def open_loop(ask: Ask, requests: int, rate: float, seed: int) -> dict[str, Any]:
    """`requests` arrivals whose gaps are exponential with mean 1 / `rate` seconds."""
    _warm_up(ask, requests)
    arrivals = arrival_times(requests, rate, seed)
    started = time.perf_counter()

    def one(number: int) -> _Done:
        return _timed(ask, number, started + arrivals[number])

    with ThreadPoolExecutor(min(requests, MOST_THREADS)) as pool:
        futures = []
        for number, arrival in enumerate(arrivals):
            time.sleep(max(0.0, started + arrival - time.perf_counter()))
            futures.append(pool.submit(one, number))
        done = [future.result() for future in futures]
    seconds = time.perf_counter() - started
    return {"loop": "open", "arrivals_per_s": rate} | _summary(done, seconds)


def arrival_times(requests: int, rate: float, seed: int) -> list[float]:
    """Seconds from the start, rising."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, requests)
    return [float(time_s) for time_s in np.cumsum(gaps)]


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Median, 95th and 99th, linear between the two nearest; None where there are none."""
    if not seconds:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def _warm_up(ask: Ask, requests: int) -> None:
    for number in islice(range(requests), WARM_UP):
        _timed(ask, number, 0.0)


def _timed(ask: Ask, number: int, since: float) -> _Done:
    try:
        served = ask(number)
    except OSError:
        served = None
    return _Done(time.perf_counter() - since, served)


def _summary(done: Sequence[_Done], seconds: float) -> dict[str, Any]:
    """Failed requests have no latency and do not count as served."""
    good = [(one.latency_s, one.served) for one in done if one.served is not None]
    first = [s.first_token_s for _, s in good if s.first_token_s is not None]
    return {
        "requests": len(done),
        "failed": len(done) - len(good),
        "seconds": seconds,
        "requests_per_s": len(good) / seconds,
        "tokens_per_s": sum(served.tokens for _, served in good) / seconds,
        "latency_s": percentiles([latency for latency, _ in good]),
        "first_token_s": percentiles(first),
    }
