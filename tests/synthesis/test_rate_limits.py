"""A real server with a token bucket: its Retry-After is kept by all, and its rate is used."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from aiohttp import web

from tests.figures import record
from tests.synthesis.teacher_server import TeacherServer
from tests.synthesis.test_generate import config_for, prompts, run_stage

RATE = 100
LONG = bool(os.environ.get("MWALIMU_LONG"))
SECONDS = 14 if LONG else 8
USED = 0.9 if LONG else 0.7  # of the rate; the short form shares its cores with other tests
ALREADY_UNDER_WAY_S = 0.25  # a request may cross a refusal on its way, long on a busy machine


class Bucket:
    def __init__(self) -> None:
        self.level = float(RATE)
        self.at = time.monotonic()
        self.admitted: list[float] = []
        self.refused: list[float] = []
        self.told: list[tuple[float, float]] = []
        self.too_early = 0

    def __call__(self, prompt: str, count: int) -> web.Response | None:
        now = time.monotonic()
        self.level = min(RATE, self.level + (now - self.at) * RATE)
        self.at = now
        self.too_early += any(a + ALREADY_UNDER_WAY_S < now < b for a, b in self.told)
        if self.level >= 1:
            self.level -= 1
            self.admitted.append(now)
            return None
        wait = math.ceil((1 - self.level) / RATE)
        self.refused.append(now)
        self.told.append((now, now + wait))
        return web.json_response({}, status=429, headers={"Retry-After": str(wait)})


@pytest.mark.slow
def test_the_permitted_rate_is_used_and_no_retry_after_is_broken(tmp_path: Path) -> None:
    bucket = Bucket()
    with TeacherServer(bucket, latency_s=0.02) as server:
        config = config_for(tmp_path, server, concurrency=32)
        rows = prompts(*(f"q{i}" for i in range(RATE * SECONDS)))
        ledger, accepted, _ = run_stage(tmp_path, config, rows)
    assert len(accepted) == len(rows)
    assert bucket.too_early == 0
    # The first burst of refusals teaches what the server allows; from then on they are rare.
    began = bucket.refused[0]
    recovered = [t for t in bucket.admitted if t >= began + 3]
    rate = (len(recovered) - 1) / (recovered[-1] - recovered[0])
    assert rate >= USED * RATE
    wasted = [t for t in bucket.refused if t >= began + 3]
    assert len(wasted) < 0.01 * len(recovered) + 1
    assert ledger["retries"] == {"HTTP 429": len(bucket.refused)}
    used = f"{rate / RATE:.1%} of the permitted rate, {len(wasted)} refused after recovery"
    record("R7", "a bucket of tokens", tried=len(recovered), note=used)
