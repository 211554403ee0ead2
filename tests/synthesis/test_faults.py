"""Every kind of fault, on the first call, in the middle of a run, and on every call.

Whatever the teacher does: the run ends in time, every row has the outcome that it should have, no
answer is joined to another prompt, and what was paid is kept, or is in the journal as open.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from mwalimu import errors
from mwalimu.errors import MwalimuError, TeacherError, TeacherUnreachable
from mwalimu.run import Run
from mwalimu.synthesis import limiter
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.index import Spend
from mwalimu.synthesis.store import AnswerStore
from tests.figures import record
from tests.synthesis import faults_answer, faults_body, faults_http, faults_wire
from tests.synthesis.faults import TABLE, Effect, Fault
from tests.synthesis.faulty_server import FaultyServer, answer_to
from tests.synthesis.test_generate import config_for, prompts

assert faults_answer and faults_body and faults_http and faults_wire  # they fill the table
ROWS, CONCURRENCY = 12, 4
DEADLINE_S = 30.0  # of a cell, on a busy machine
AT_ONCE = 8  # cells that mostly wait
MODES: dict[str, Callable[[int], bool]] = {
    "first": lambda number: number == 1,
    "midway": lambda number: number == 6,
    "always": lambda number: True,
}
CELLS = [(name, mode) for name in TABLE for mode in MODES]


@dataclass
class Attempt:
    """How one run of the stage ended, and what the teacher's books say of it."""

    ledger: dict[str, Any] = field(default_factory=dict)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    error: MwalimuError | None = None
    spend: Spend = field(default_factory=Spend)
    asked: Counter[str] = field(default_factory=Counter)
    billed: Counter[str] = field(default_factory=Counter)
    hit: set[str] = field(default_factory=set)


def attempt(folder: Path, server: FaultyServer, settings: dict[str, Any]) -> Attempt:
    config = config_for(folder, server.url, **settings)
    done, run = Attempt(), Run(folder / "run")
    rows = prompts(*(f"question {i}" for i in range(ROWS)))
    quiet: dict[str, Any] = {"stage_fingerprint": "f", "on_progress": lambda *_: None}
    try:
        done.ledger = generate(config, run, folder / "answers", rows, None, **quiet)
    except MwalimuError as error:
        done.error = error
    else:
        done.accepted = read(run.path("generate", "train.jsonl"))
        done.rejected = read(run.path("generate", "rejects.jsonl"))
    with AnswerStore(folder / "answers", run.id) as store:
        done.spend = store.spend()
    done.asked, done.billed, done.hit = server.asked, server.billed, set(server.hit)
    return done


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def check_cell(folder: Path, fault: Fault, mode: str) -> None:
    chosen = MODES[mode]
    settings: dict[str, Any] = {"outage_s": 2.0, "max_retries": 2, "concurrency": CONCURRENCY}
    # A busy machine is no fault: only those that are waited out have short deadlines.
    settings |= {"timeout_s": 1.0, "idle_s": 0.5} if fault.slow else {"timeout_s": 20.0}
    settings |= fault.settings
    with FaultyServer(lambda number, _: fault if chosen(number) else None) as server:
        first = attempt(folder, server, settings)
        assert first.hit and server.strayed == 0
        check_rows(first)
        check_books(first)
        check_effect(fault, first, always=mode == "always")
        server.forget()
        check_clean_run(fault.effect, first, attempt(folder, server, settings))


def check_rows(done: Attempt) -> None:
    """Whole, in order, each with its own answer; and one line of words for what went wrong."""
    for row in done.accepted:
        asked, answered = (message["content"] for message in row["messages"])
        assert answered.startswith(answer_to(asked))
    if done.error is not None:
        assert is_one_line(str(done.error))
        return
    ids = [[row["id"] for row in rows] for rows in (done.accepted, done.rejected)]
    assert all(found == sorted(found, key=lambda name: int(name[1:])) for found in ids)
    assert sorted(chain(*ids)) == sorted(f"r{i}" for i in range(ROWS))
    assert all(is_one_line(row["reason"]) for row in done.rejected)
    assert sum(done.ledger["outcomes"].values()) == done.ledger["inputs"] == ROWS
    assert done.ledger["outcomes"].get("ok", 0) == len(done.accepted)


def is_one_line(text: str) -> bool:
    return bool(text) and text.isprintable() and len(text) < 600 and "Traceback" not in text


def check_books(done: Attempt, before: Attempt | None = None) -> None:
    """Ours against the teacher's: what it did is kept, or is known to be open."""
    spend, earlier = done.spend, before or Attempt()
    assert (done.asked + earlier.asked).total() <= spend.requests
    assert (done.billed + earlier.billed).total() <= spend.answers + spend.open_requests
    if done.error is None:
        assert done.ledger["requests_sent"] == spend.requests - earlier.spend.requests
        # An answer too large to be kept is open too, and its row has failed.
        known = done.ledger["ambiguous_retries"] + done.ledger["outcomes"].get("failed", 0)
        assert known >= spend.open_requests - earlier.spend.open_requests


def check_effect(fault: Fault, done: Attempt, *, always: bool) -> None:
    effect = fault.effect
    if effect.stops:
        assert type(done.error) is getattr(errors, effect.stops)
    elif effect.retried and effect.exact and always:
        assert type(done.error) is TeacherUnreachable
        text = str(done.error)
        assert ("no answer for 2 s" if effect.busy else "requests in a row, 3 tries") in text
    elif effect.retried and always:
        assert type(done.error) is TeacherUnreachable or set(done.ledger["outcomes"]) == {"ok"}
    else:
        assert done.error is None
        check_outcomes(fault, done, always=always)


def check_outcomes(fault: Fault, done: Attempt, *, always: bool) -> None:
    effect, hit = fault.effect, ROWS if always else 1
    sent, retries, status = ROWS, 0, effect.status
    if effect.retried:
        retries, sent = hit, ROWS + hit
    elif effect.longer:
        sent, status = ROWS + hit, "truncated" if always else ""
    ledger = done.ledger
    wanted = {status: hit} if status else {}
    assert Counter(ledger["outcomes"]) == Counter({"ok": ROWS - hit if status else ROWS} | wanted)
    assert effect.says in " ".join(ledger["retries"])
    if fault.slow:
        assert sum(ledger["retries"].values()) >= retries
    elif effect.exact:
        assert (sum(ledger["retries"].values()), ledger["requests_sent"]) == (retries, sent)
        assert ledger["ambiguous_retries"] == (retries if effect.unsure else 0)
    if status and not always:
        assert {row["messages"][-1]["content"] for row in done.rejected} == done.hit


def check_clean_run(effect: Effect, first: Attempt, clean: Attempt) -> None:
    """The teacher is well again: only what is not in the store is asked, and each thing once."""
    assert clean.error is None
    check_rows(clean)
    check_books(clean, first)
    missing = ROWS + (len(first.hit) if effect.longer else 0) - first.spend.answers
    assert clean.ledger["requests_sent"] == clean.asked.total() == max(0, missing)
    assert max(clean.asked.values(), default=1) == 1
    unusable = first.ledger["outcomes"].get(effect.status or "truncated", 0) if first.ledger else 0
    assert clean.ledger["outcomes"].get("ok", 0) == ROWS - (unusable if effect.stored else 0)


class Watched:
    """Cells run in daemon threads: one that hangs fails its test, and not the whole session.

    Those that mostly wait start together, when the first of them is wanted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alarms: dict[int | None, list[str]] = {}  # asyncio's own, by thread
        self._queue: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._done: dict[tuple[str, str], Future[None]] = {}

    def start(self, waiting: list[tuple[str, str]]) -> None:
        for cell in waiting:
            self._done[cell] = Future()
            self._queue.put(cell)
        for _ in range(min(AT_ONCE, len(waiting))):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while not self._queue.empty():
            self._run(self._queue.get())

    def _run(self, cell: tuple[str, str]) -> None:
        name, mode = cell
        alarms = self.alarms[threading.get_ident()] = []
        try:
            check_cell(self.folder / f"{name}-{mode}", TABLE[name], mode)
            assert not alarms
        except BaseException as error:
            self._done[cell].set_exception(error)
        else:
            self._done[cell].set_result(None)

    def result(self, cell: tuple[str, str]) -> None:
        """Raises what the cell raised, or TimeoutError."""
        if cell not in self._done:
            self._done[cell] = Future()
            threading.Thread(target=self._run, args=(cell,), daemon=True).start()
        self._done[cell].result(DEADLINE_S)


class Alarm(logging.Handler):
    """asyncio tells of an exception that nobody took; a user would see it as a traceback."""

    def __init__(self, watched: Watched) -> None:
        super().__init__(logging.WARNING)
        self.watched = watched

    def emit(self, record: logging.LogRecord) -> None:
        self.watched.alarms.setdefault(record.thread, []).append(record.getMessage())


def is_slow(name: str, mode: str) -> bool:
    """A busy teacher that stays so is waited for as long as `outage_s`."""
    return TABLE[name].slow or (TABLE[name].effect.busy and mode == "always")


@pytest.fixture(scope="module")
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    selected = {item.name for item in request.session.items}
    cells = [cell for cell in CELLS if f"test_faults[{'-'.join(cell)}]" in selected]
    watched = Watched(tmp_path_factory.mktemp("faults"))
    alarm = Alarm(watched)
    logging.getLogger("asyncio").addHandler(alarm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limiter, "BACKOFF_S", 0.01)
        patch.setattr(limiter, "PAUSE_S", 0.02)
        patch.setattr(os, "fsync", lambda _: None)  # kills are tested elsewhere; disks are slow
        watched.start([cell for cell in cells if is_slow(*cell)])
        yield watched
    logging.getLogger("asyncio").removeHandler(alarm)


@pytest.mark.parametrize(("name", "mode"), CELLS, ids=list(map("-".join, CELLS)))
def test_faults(watched: Watched, name: str, mode: str) -> None:
    watched.result((name, mode))
    record("R6", f"{mode} call", tried=1)


@pytest.mark.parametrize("name", [n for n in TABLE if not TABLE[n].slow])
def test_a_fault_of_the_list_of_models_ends_in_an_answer_or_one_error(
    tmp_path: Path, name: str
) -> None:
    with FaultyServer() as server:
        server.on_models = TABLE[name]
        done = attempt(tmp_path, server, {"timeout_s": 1.0, "idle_s": 0.5, "concurrency": 4})
    assert server.strayed == 0
    check_rows(done)
    assert isinstance(done.error, TeacherError) or done.ledger["outcomes"] == {"ok": ROWS}


def test_there_are_enough_kinds() -> None:
    assert len(TABLE) >= 60
