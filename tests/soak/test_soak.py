"""Service, generation and training for a long time, while servers, workers and commands are killed.

Jobs of the service and commands beside it ask one faulty teacher and train on what it answers.
Nothing is lost, nothing bought twice but what was in flight when somebody was killed, and a server
that is left alone holds as much at the end as at its beginning. Short: some seconds, so that the
soak itself is tried; MWALIMU_LONG=1: an hour, or MWALIMU_SOAK_MINUTES.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mwalimu.jobs.records import Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.holding import holder
from mwalimu.run import Run
from mwalimu.synthesis.index import Spend
from mwalimu.synthesis.store import AnswerStore
from mwalimu.upkeep.checking import check_run
from tests import command
from tests.bookkeeper import bookkeeper
from tests.figures import record
from tests.jobs.servers import Servers
from tests.soak.flat import Watched, growth
from tests.soak.teacher import fate_of
from tests.synthesis.faulty_server import answer_to
from tests.tiny import make_tiny_model

LONG = bool(os.environ.get("MWALIMU_LONG"))
MINUTES = float(os.environ.get("MWALIMU_SOAK_MINUTES", 60 if LONG else 0.2))
SEED, ROWS, CONCURRENCY = 26, 80, 8
PAUSE_S = 8.0 if LONG else 3.0  # between kills, in the mean
SETTLED = 0.15  # of its life a server may grow until it counts
ROOM = {"rss_mib": 16.0, "files": 4.0, "threads": 4.0}  # of growth
DRAIN_S = 600.0


def prompts(name: str) -> list[str]:
    return [f"{name} asks {n}" for n in range(ROWS)]


def config(name: str, folder: Path, url: str, student: Path) -> dict[str, Any]:
    rows = folder / f"{name}.jsonl"
    lines = [json.dumps({"id": f"r{n}", "prompt": p}) for n, p in enumerate(prompts(name))]
    rows.write_text("\n".join(lines) + "\n")
    patient = {"concurrency": CONCURRENCY, "max_retries": 6, "outage_s": 300}
    return {
        "task": "generic",
        "data": {"train": str(rows)},
        "teacher": {"model": "tiny", "base_url": url, **patient},
        "student": {"model": str(student), "method": "full"},
        "generate": {"min_ok": 0.5},
        "curate": {"min_ok": 0.0, "checks": []},
        "finetune": {"epochs": 2, "batch_size": 8, "save_every": 2, "objective": "cross_entropy"},
    }


@dataclass
class Soak:
    """What runs, what was begun, and who was killed."""

    folder: Path
    url: str
    student: Path
    kills: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)  # of jobs
    commands: list[Path] = field(default_factory=list)
    seen: Counter[int] = field(default_factory=Counter)  # statuses that a client got

    def __post_init__(self) -> None:
        self.chance = random.Random(SEED)
        settings = {"slots": {"cpu": 1}, "lease_s": 5.0, "max_attempts": 1000}
        self.servers = Servers(self.folder / "service", **settings)
        self.place = self.servers.start()
        self.store = JobStore(self.servers.workspace.database, max_attempts=1000)
        self.running: command.Command | None = None

    def work(self) -> None:
        """There is always a job that waits, and a command that runs."""
        ended = (State.COMPLETED, State.FAILED)
        if sum(self.store.get(n).state not in ended for n in self.names[-3:]) < 2:
            name = f"job-{len(self.names)}"
            made = config(name, self.folder, self.url, self.student)
            names = (f"{name}-distilled", f"{name}-baseline")
            self.store.submit(Spec("distillation", made, registers=names), owner="a", name=name)
            self.names.append(name)
        if self.running is None or not self.running.lasts(0):
            self._command()

    def _command(self) -> None:
        code = None if self.running is None else self.running.finished().returncode
        if code in (None, 0):
            place = self.folder / f"command-{len(self.commands)}"
            place.mkdir()
            made = config(place.name, place, self.url, self.student)
            (place / "distill.yaml").write_text(json.dumps(made))
            self.commands.append(place)
        else:
            assert code == -signal.SIGKILL, f"{self.commands[-1]} ended with {code}"
        args = ("run", "distill.yaml", "--run", "run")
        self.running = command.start(*args, cwd=self.commands[-1])

    def kill(self, *, servers: bool) -> None:
        whom = self.chance.choices(("server", "worker", "command"), (1 if servers else 0, 2, 2))[0]
        if whom == "server":
            self.servers.end(signal.SIGKILL)
            self.place = self.servers.start()
        elif whom == "command":
            if not self._kill_command():
                return
        elif not self._kill_worker():
            return
        self.kills[whom] += 1

    def _kill_command(self) -> bool:
        if self.running is not None and self.running.lasts(0):
            with suppress(ProcessLookupError):  # it has just ended, or has not quite begun
                self.running.kill()
                return True
        return False

    def _kill_worker(self) -> bool:
        for lease in self.store.leases():
            if (pid := holder(self.servers.workspace.worker(lease.job))) is not None:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                    return True
        return False

    def ask(self) -> None:
        """As somebody does who looks at the dashboard."""
        headers = {"Authorization": f"Bearer {self.place.token}"}
        job = self.chance.choice(self.names)
        with httpx2.Client(base_url=self.place.url, headers=headers, timeout=10) as client:
            for path in (f"/v1/jobs/{job}", "/v1/jobs?limit=50", f"/v1/jobs/{job}/progress"):
                with suppress(httpx2.TransportError):  # the server was killed
                    self.seen[client.get(path).status_code] += 1

    def drain(self) -> None:
        """Nobody is killed any more: all that was begun ends."""
        until = time.monotonic() + DRAIN_S
        while any(self.store.get(n).state != State.COMPLETED for n in self.names):
            states = {n: str(self.store.get(n).state) for n in self.names}
            assert State.FAILED not in states.values() and time.monotonic() < until, states
            time.sleep(0.2)
        while self.running is not None:
            code = self.running.finished(DRAIN_S).returncode
            self.running = None
            if code == -signal.SIGKILL:
                args = ("run", "distill.yaml", "--run", "run")
                self.running = command.start(*args, cwd=self.commands[-1])
            else:
                assert code == 0

    def close(self) -> None:
        self._kill_command()
        self._kill_worker()
        self.servers.end()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of processes that were killed
def test_a_mixed_soak_loses_nothing_and_does_not_grow(tmp_path: Path) -> None:
    student = make_tiny_model(tmp_path / "student")
    with bookkeeper("tests.soak.teacher") as (url, books):
        soak = Soak(tmp_path, url, student)
        try:
            watched = soaked(soak, MINUTES * 60)
            soak.drain()
        finally:
            soak.close()
    places = [(one / "run", one / ".mwalimu/answers") for one in soak.commands]
    job = soak.servers.workspace.job
    places += [(job(name) / "run", job(name) / "answers") for name in soak.names]
    spent = [checked(*place) for place in places]
    asked = Counter(books)
    names = [*soak.names, *(one.name for one in soak.commands)]
    twice = check_books(asked, names, soak.kills["worker"] + soak.kills["command"], spent)
    assert set(soak.seen) == {200}
    told = check_flat(watched)
    note = f"{len(soak.names)} jobs and {len(soak.commands)} commands of {ROWS} prompts; kills "
    note += f"{dict(soak.kills)}; {twice} asked again; {soak.seen[200]} answers of the service; "
    note += f"the server over {len(watched.files)} looks: {told}"
    record("R26", f"{MINUTES:g} minutes", tried=asked.total(), seed=SEED, note=note)
    print(note)


def soaked(soak: Soak, seconds: float) -> Watched:
    """In the first half servers are killed too; the one of the second half is watched."""
    watched = Watched()
    bother(soak, seconds / 2, servers=True)
    with watched.while_inside(soak.servers.process.pid, 1.0 if LONG else 0.1):
        bother(soak, seconds / 2, servers=False)
    return watched


def bother(soak: Soak, seconds: float, *, servers: bool) -> None:
    until = time.monotonic() + seconds
    strike = time.monotonic() + soak.chance.expovariate(1 / PAUSE_S)
    while time.monotonic() < until:
        soak.work()
        if time.monotonic() >= strike:
            soak.kill(servers=servers)
            strike = time.monotonic() + soak.chance.expovariate(1 / PAUSE_S)
        soak.ask()
        time.sleep(0.2)


def checked(run: Path, answers: Path) -> Spend:
    """What it paid for. Each row has the outcome that it must have, and its own answer."""
    found = Run(run)
    assert not any(line.fix for line in check_run(run)), run
    assert found.stage("finetune") is not None
    check_rows(run.parent.name, run / "generate")
    with AnswerStore(answers, found.id) as store:
        return store.spend()


def check_rows(name: str, generated: Path) -> None:
    fates = {f"r{n}": (p, fate_of(p)[0]) for n, p in enumerate(prompts(name))}
    seen: list[str] = []
    for line in (generated / "train.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        prompt, fate = fates[row["id"]]
        assert fate == "ok" and row["messages"][-1]["content"].startswith(answer_to(prompt))
        seen.append(row["id"])
    for line in (generated / "rejects.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        assert row["status"] == fates[row["id"]][1]
        seen.append(row["id"])
    assert sorted(seen) == sorted(fates)


def check_books(
    books: Counter[str], names: Iterable[str], struck: int, spent: Sequence[Spend]
) -> int:
    """How many requests more than without a kill; each was open in somebody's journal."""
    asked = {prompt for name in names for prompt in prompts(name)}
    assert set(books) == asked
    needed = sum(fate_of(prompt)[1] for prompt in asked)
    assert all(books[prompt] >= fate_of(prompt)[1] for prompt in asked)
    twice = books.total() - needed
    assert twice <= min(struck * CONCURRENCY, sum(one.open_requests for one in spent))
    assert books.total() <= sum(one.requests for one in spent)
    return twice


def check_flat(watched: Watched) -> str:
    told = []
    for name, room in ROOM.items():
        series = getattr(watched, name)
        found = growth(series[round(SETTLED * len(series)) :])
        assert found.low <= room, (name, found)
        told.append(f"{name} {found}")
    return ", ".join(told)
