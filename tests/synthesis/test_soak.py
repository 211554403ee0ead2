"""A long run against a teacher of which every twentieth answer is wrong in some way.

Nothing is lost, every row ends as its own faults say, and what the process holds does not grow.
MWALIMU_LONG=1 asks 50,000 prompts instead of 5,000.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from mwalimu.run import Run
from mwalimu.synthesis import limiter, live
from mwalimu.synthesis.engine import AHEAD
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.store import AnswerStore
from tests.bookkeeper import bookkeeper
from tests.figures import record
from tests.synthesis.faulty_server import answer_to
from tests.synthesis.soak_server import outcome_of
from tests.synthesis.test_generate import config_for, prompts

ROWS = 50_000 if os.environ.get("MWALIMU_LONG") else 5_000
CONCURRENCY = 32
FIRST = "are you there?"
GROWTH_BYTES = 20 << 20
EXTRA_TASKS = 64  # the ticker, the committer, timeouts of requests under way


@dataclass
class Gauge:
    """What the process holds, looked at from within its event loop; called as progress is told."""

    samples: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        rss = pages * os.sysconf("SC_PAGE_SIZE")
        self.samples.append((done, open_files(), len(asyncio.all_tasks()), rss))

    def later(self, column: int, share: float) -> tuple[int, int]:
        """The most until so much of the rows was done, and the most after."""
        edge = share * ROWS
        before = max(sample[column] for sample in self.samples if sample[0] <= edge)
        return before, max(sample[column] for sample in self.samples if sample[0] >= edge)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as lines:
        yield from map(orjson.loads, lines)


def test_a_long_run_loses_nothing_and_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "BACKOFF_S", 0.01)
    monkeypatch.setattr(live, "EVERY_S", 0.05)
    gauge, run = Gauge(), Run(tmp_path / "run")
    quiet: dict[str, Any] = {"stage_fingerprint": "f", "on_progress": lambda *_: None}
    with bookkeeper("tests.synthesis.soak_server") as (url, books):
        config = config_for(tmp_path, url, concurrency=CONCURRENCY, max_retries=6)
        first = prompts(FIRST)  # what is opened once in a process is no leak
        generate(config, Run(tmp_path / "first"), tmp_path / "answers", first, None, **quiet)
        files, began = open_files(), time.monotonic()
        rows = prompts(*(f"question {i}" for i in range(ROWS)))
        told = quiet | {"on_progress": gauge}
        ledger = generate(config, run, tmp_path / "answers", rows, None, **told)
        seconds = time.monotonic() - began
        assert open_files() == files
    check_rows(run, ledger)
    check_books(tmp_path, run, ledger, books)
    growth = check_growth(gauge)
    note = f"{books['hit']} faults, {ROWS / seconds:.0f} rows a second, {growth >> 10:,} KiB more"
    record("R16", "soak of stage 1", tried=ROWS, note=note)


def check_rows(run: Run, ledger: dict[str, Any]) -> None:
    expected = Counter(outcome_of(f"question {i}")[0] for i in range(ROWS))
    assert ledger["outcomes"] == expected and expected["ok"] < ROWS
    seen = set()
    for row in rows_of(run.path("generate", "train.jsonl")):
        asked, answered = (message["content"] for message in row["messages"])
        assert answered.startswith(answer_to(asked))
        assert outcome_of(asked)[0] == "ok"
        seen.add(row["id"])
    for row in rows_of(run.path("generate", "rejects.jsonl")):
        assert row["status"] == outcome_of(row["messages"][-1]["content"])[0]
        assert row["id"] not in seen
        seen.add(row["id"])
    assert len(seen) == ROWS


def check_books(folder: Path, run: Run, ledger: dict[str, Any], books: dict[str, int]) -> None:
    """Every call that the teacher saw is one of ours, and all that it did is kept or is open."""
    with AnswerStore(folder / "answers", run.id) as store:
        spend = store.spend()
    asked = [FIRST, *(f"question {i}" for i in range(ROWS))]
    assert books["prompts"] == len(asked)
    assert books["asked"] == sum(outcome_of(prompt)[1] for prompt in asked)
    assert books["asked"] <= ledger["requests_sent"] + 1 == spend.requests + 1
    assert books["billed"] <= spend.answers + 1 + spend.open_requests
    assert spend.open_requests <= ledger["ambiguous_retries"]


def check_growth(gauge: Gauge) -> int:
    """How much memory was taken after two fifths of the run."""
    assert len(gauge.samples) >= 4
    files, files_later = gauge.later(1, 0.4)
    assert files_later <= files + 4
    assert max(sample[2] for sample in gauge.samples) <= AHEAD + CONCURRENCY + EXTRA_TASKS
    memory, memory_later = gauge.later(3, 0.4)
    assert memory_later - memory < GROWTH_BYTES
    return memory_later - memory
