"""How soon a run ends that cannot go on: no hour of waiting, no thousand hopeless requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from mwalimu.config import BudgetConfig
from mwalimu.data.record import Message
from mwalimu.errors import TeacherError, TeacherUnreachable
from mwalimu.run import Run
from mwalimu.synthesis.ask import Asker
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.store import AnswerStore
from mwalimu.teachers.base import (
    Capabilities,
    Completion,
    RateLimits,
    Reply,
    Request,
    Sampling,
    TeacherInfo,
    TransientError,
    Window,
)
from tests.synthesis import faults_http
from tests.synthesis.faults import TABLE
from tests.synthesis.faulty_server import Exchange, FaultyServer
from tests.synthesis.test_generate import config_for, prompts
from tests.virtual_time import run_virtual

assert faults_http  # it fills the table
WEEK_S = 7 * 86400.0


class Never:
    """A teacher that asks to come back later, each time."""

    info = TeacherInfo("never", "openai_compatible")
    capabilities = Capabilities()
    batch_size = concurrency = 1

    def __init__(self, error: TransientError) -> None:
        self.error = error

    async def check(self) -> None:
        pass

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        await asyncio.sleep(0.1)
        raise self.error

    def parse(self, raw: bytes) -> Completion:
        raise ValueError

    async def close(self) -> None:
        pass


WISHES = {
    "429_for_a_minute": TransientError("HTTP 429", rate_limited=True, retry_after_s=60.0),
    "503": TransientError("HTTP 503", overloaded=True),
    "away": TransientError("connection refused", unreachable=True),
    "429_for_an_hour": TransientError("HTTP 429", rate_limited=True, retry_after_s=3600.0),
    "503_for_an_hour": TransientError("HTTP 503", overloaded=True, retry_after_s=3600.0),
    "429_of_a_weeks_quota": TransientError(
        "HTTP 429", rate_limited=True, limits=RateLimits(Window(remaining=0, reset_s=WEEK_S))
    ),
}


@pytest.mark.parametrize(
    "error",
    [pytest.param(error, id=name) for name, error in WISHES.items()],
)
def test_nothing_is_waited_for_beyond_the_outage(tmp_path: Path, error: TransientError) -> None:
    settings = config_for(tmp_path, "http://127.0.0.1:9/v1", outage_s=300.0).teacher
    request = Request("never", (Message("user", "q"),), Sampling())

    async def ask() -> float:
        with AnswerStore(tmp_path / "answers", "00" * 16) as store:
            asker = Asker(
                Never(error), settings, Durability(store), Budget(BudgetConfig(), store.spend())
            )
            with pytest.raises(TeacherUnreachable):
                await asker.ask(request)
        return asyncio.get_running_loop().time()

    assert run_virtual(ask()) < 2 * 300


@pytest.mark.parametrize("name", ["unauthorized_401", "no_credit_402"])
def test_a_refused_key_is_not_tried_with_every_row(tmp_path: Path, name: str) -> None:
    """The first row's answer takes its time, and the rows behind it are many."""

    async def slow(x: Exchange) -> None:
        await asyncio.sleep(0.5)
        await x.reply()

    rows = prompts(*map(str, range(1000)))
    with FaultyServer(lambda n, _: slow if n == 1 else TABLE[name] if n > 5 else None) as server:
        config, run = config_for(tmp_path, server.url, concurrency=4), Run(tmp_path / "run")
        with pytest.raises(TeacherError):
            generate(
                config,
                run,
                tmp_path / "answers",
                rows,
                None,
                stage_fingerprint="f",
                on_progress=lambda *_: None,
            )
        assert server.asked.total() < 50
