"""What a server keeps survives its end, however it ends."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.traffic import read_traffic, traffic_file, traffic_files
from mwalimu.serving.traffic import LARGEST, TrafficLog


def row(text: str) -> dict[str, Any]:
    return {"id": text, "task": "generic", "messages": [{"role": "user", "content": text}]}


def live(
    folder: Path, work: Callable[[TrafficLog], Awaitable[None]], *, largest: int = LARGEST
) -> list[str]:
    """What the log of one life says."""
    notes: list[str] = []

    async def life() -> None:
        async with TrafficLog(folder, notes.append, largest=largest) as log:
            await work(log)

    asyncio.run(life())
    return notes


def questions(folder: Path) -> list[str]:
    return [record.id for record in read_traffic(folder, task="qa", note=print)]


def writing(*texts: str) -> Callable[[TrafficLog], Awaitable[None]]:
    async def work(log: TrafficLog) -> None:
        for text in texts:
            log.write(row(text))

    return work


def test_a_question_is_written_once_over_all_lives(tmp_path: Path) -> None:
    live(tmp_path, writing("a", "b", "a"))
    live(tmp_path, writing("b", "c"))
    assert questions(tmp_path) == ["a", "b", "c"]


def test_files_end_at_their_size_and_the_next_life_goes_on_in_the_last(tmp_path: Path) -> None:
    live(tmp_path, writing(*map(str, range(10))), largest=200)
    live(tmp_path, writing("x"), largest=200)
    files = traffic_files(tmp_path)
    assert len(files) > 2
    assert all(path.stat().st_size <= 200 for path in files)
    assert questions(tmp_path) == [*map(str, range(10)), "x"]


def test_a_torn_line_is_cut_off_by_the_next_life(tmp_path: Path) -> None:
    live(tmp_path, writing("a"))
    with open(traffic_file(tmp_path, 1), "ab") as handle:
        handle.write(b'{"id": "torn", "mess' + b"x" * 100_000)
    (note,) = live(tmp_path, writing("b"))
    assert "is torn" in note
    assert questions(tmp_path) == ["a", "b"]
    assert traffic_file(tmp_path, 1).read_bytes().count(b"\n") == 2


def test_a_file_of_nothing_but_a_torn_line(tmp_path: Path) -> None:
    traffic_file(tmp_path, 1).write_bytes(b'{"id"')
    live(tmp_path, writing("b"))
    assert questions(tmp_path) == ["b"]


def test_lines_are_made_durable_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counted(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        fsync(file)

    async def work(log: TrafficLog) -> None:
        monkeypatch.setattr("mwalimu.serving.traffic.GATHER_S", 0.01)
        monkeypatch.setattr(os, "fsync", counted)
        for number in range(50):
            log.write(row(str(number)))
        while not synced:
            await asyncio.sleep(0.01)

    live(tmp_path, work)
    size = traffic_file(tmp_path, 1).stat().st_size
    assert set(synced) == {size}
    assert len(synced) == 2  # one for all of them, one at the end


def test_an_fsync_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(log: TrafficLog) -> None:
        monkeypatch.setattr("mwalimu.serving.traffic.GATHER_S", 0.0)
        fsync = os.fsync

        def fails(file: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fails)
        log.write(row("a"))
        while log._syncing is not None:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(os, "fsync", fsync)
        log.write(row("b"))
        while log._syncing is not None:
            await asyncio.sleep(0.01)
        assert log._durable == log._written

    assert live(tmp_path, work) == [f"{tmp_path}: traffic is not durable (Input/output error)"]
    assert questions(tmp_path) == ["a", "b"]


def _write_until_killed(folder: str) -> None:
    async def life() -> None:
        async with TrafficLog(Path(folder), print) as log:
            for number in range(1_000_000):
                log.write(row(f"{number:06d}"))
                Path(folder, "told").write_text(str(number))
                await asyncio.sleep(0)

    asyncio.run(life())


def test_kill_9_loses_no_line_that_was_written(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_write_until_killed, args=(str(tmp_path),))
    process.start()
    while not (tmp_path / "told").exists() or int((tmp_path / "told").read_text() or 0) < 50:
        pass
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    told = int((tmp_path / "told").read_text() or 0)
    notes = live(tmp_path, writing("after"))
    found = questions(tmp_path)
    assert notes == []
    assert found[:-1] == [f"{number:06d}" for number in range(len(found) - 1)]
    assert len(found) - 1 >= told
    assert found[-1] == "after"
