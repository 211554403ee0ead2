"""The cascade beside a server that has an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mwalimu.config import dump_config
from mwalimu.errors import ConfigError, RunError, TeacherRefusesKey
from mwalimu.run import Run
from mwalimu.serving.beside import CascadeBeside, cascade_beside, run_of
from mwalimu.serving.cascade import CascadeOptions
from tests.serving.answers import asks, job, student_says
from tests.serving.running import wait_until
from tests.synthesis.teacher_server import TeacherServer

OPTIONS = CascadeOptions(below=0.0)


def run_folder(folder: Path, url: str) -> Path:
    run = Run(folder / "run")
    run.describe(seed=0)
    config = job(folder, model="tiny", base_url=url)
    run.path("config.yaml").write_text(dump_config(config))
    return run.root


def serve(
    target: Path, options: CascadeOptions, *works: Callable[[CascadeBeside], Awaitable[None]]
) -> CascadeBeside:
    """Each on an event loop of its own."""
    with cascade_beside(target, options, print, below="0.5") as cascade:
        for work in works:
            asyncio.run(asyncio.wait_for(work(cascade), 60))
    return cascade


def test_it_answers_whatever_loop_asks_and_leaves_no_thread(tmp_path: Path) -> None:
    traffic = tmp_path / "traffic"
    before = set(threading.enumerate())

    async def work(cascade: CascadeBeside) -> None:
        found = await cascade.second(asks("hard"), student_says(sure=0.4), max_tokens=50)
        assert found is not None
        assert found.text == "echo hard"
        assert await cascade.second(asks("x"), student_says(sure=0.6), max_tokens=50) is None

    with TeacherServer() as server:
        target = run_folder(tmp_path, server.url)
        options = CascadeOptions(below=0.0, traffic=traffic)
        cascade = serve(target / "finetune" / "student", options, work, work)
        assert server.asked == {"hard": 1}
    assert cascade.counts == {"escalated": 2, "confident": 2}
    assert len((traffic / "traffic-000001.jsonl").read_bytes().splitlines()) == 1
    # An event loop that is closed does not wait for its executor's idle threads to end.
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_client_that_goes_away_leaves_the_question_on_its_way(tmp_path: Path) -> None:
    async def work(cascade: CascadeBeside) -> None:
        asked = asyncio.create_task(cascade.second(asks("slow"), student_says(), max_tokens=50))
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await cascade.second(asks("slow"), student_says(), max_tokens=50) is not None

    with TeacherServer(latency_s=0.3) as server:
        serve(run_folder(tmp_path, server.url), OPTIONS, work)
        assert server.asked == {"slow": 1}


def test_questions_on_their_way_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async def work(cascade: CascadeBeside) -> None:
        asked = asyncio.create_task(cascade.second(asks("a"), student_says(), max_tokens=50))
        await asyncio.sleep(0.1)
        asked.cancel()

    with TeacherServer(latency_s=60) as server:
        target = run_folder(tmp_path, server.url)
        with cascade_beside(target, OPTIONS, print, below="0.5") as cascade:
            asyncio.run(work(cascade))


def test_what_is_wrong_ends_the_start(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with TeacherServer(key="secret") as server:
        target = run_folder(tmp_path, server.url)
        for below in ("often", "auto"):
            with (
                pytest.raises((ConfigError, RunError)),
                cascade_beside(target, OPTIONS, print, below=below),
            ):
                pass
        with pytest.raises(TeacherRefusesKey), cascade_beside(target, OPTIONS, print, below="0.5"):
            pass
    # An event loop that is closed does not wait for its executor's idle threads to end.
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_the_run_folder_is_found_from_what_is_in_it(tmp_path: Path) -> None:
    Run(tmp_path / "run").describe(seed=0)
    inside = tmp_path / "run" / "export" / "gguf-Q4_K_M"
    assert run_of(inside).root == run_of(tmp_path / "run").root == (tmp_path / "run").resolve()
    with pytest.raises(RunError, match="in no run folder"):
        run_of(tmp_path / "elsewhere")
