"""Generated sequences of everything that can be asked of the store, against QueueModel.

Between the calls time passes, the wall clock is set, the machine starts anew, leases are lost, a
new process opens the file, and calls are broken off at any instruction of the database, as a
crash does. MWALIMU_LONG=1: 2,000 sequences.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mwalimu.errors import MwalimuError
from mwalimu.jobs.records import Lease, Role, Spec
from mwalimu.jobs.refusals import LostLease
from mwalimu.jobs.settings import Quota, Quotas
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.tokens import TokenStore
from tests.figures import record
from tests.jobs.clock import Clock
from tests.jobs.queue_model import LEGAL, STEPS, Limits, QueueModel

LONG = bool(os.environ.get("MWALIMU_LONG"))
NAMES = [f"j{number}" for number in range(7)]
OWNERS = {"asha": Limits(3, 1, 10), "juma": Limits(3, 1, 10), "root": Limits()}
QUOTAS = Quotas(
    queue=5,
    default=Quota(waiting=3, running=1, usd=10),
    roles={Role.ADMIN: Quota(waiting=None)},
)
SLOTS = {"cpu:0": "cpu", "cpu:1": "cpu", "gpu:0": "gpu"}
LEASE_S = 30.0
MOST = 3

names = st.sampled_from(NAMES)
picks = st.integers(0, 3)
budgets = st.sampled_from([None, 2.0, 5.0])


class Crash(Exception):
    """The process is gone in the middle of a call."""


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.wall = Clock()
        self.clock = Clock()
        self.model = QueueModel(OWNERS, QUOTAS.queue, LEASE_S, MOST)
        self.given: list[Lease] = []
        self.fuse: int | None = None
        self._open()
        TokenStore(self.store.database).make("root", Role.ADMIN)
        self.file = sqlite3.connect(self.folder / "service.db")
        self.file.row_factory = sqlite3.Row

    def _open(self) -> None:
        self.store = JobStore(
            self.folder / "service.db",
            clock=self.wall,
            monotonic=self.clock,
            lease_s=LEASE_S,
            max_attempts=MOST,
            quotas=QUOTAS,
        )

    def teardown(self) -> None:
        self.file.close()
        self.store.database.close()
        shutil.rmtree(self.folder)

    def _asked(self, call: Callable[[], Any], expected: Callable[[], Any]) -> None:
        """Both sides are asked; a call that was broken off has happened whole or not at all."""
        try:
            found = self._answer(call)
        except Crash:
            self.store.database.close()
            self._open()
            if self._in_file() != self._in_model():
                expected()  # only its answer was lost: the invariants see whether it is whole
            return
        assert found == expected()

    def _answer(self, call: Callable[[], Any]) -> Any:
        with self.store.database.read() as connection:
            pass
        connection.set_progress_handler(self._burn, 1)
        try:
            return call()
        except (LostLease, MwalimuError) as refusal:
            return type(refusal).__name__
        except sqlite3.OperationalError as error:
            assert str(error) == "interrupted"
            raise Crash from error
        finally:
            self.fuse = None
            with suppress(sqlite3.ProgrammingError):  # closed: not even its rollback went through
                connection.set_progress_handler(None, 0)

    def _burn(self) -> bool:
        """Once: SQLite asks again while it breaks off."""
        if self.fuse is None:
            return False
        self.fuse -= 1
        if self.fuse > 0:
            return False
        self.fuse = None
        return True

    def _lease(self, pick: int) -> Lease:
        """The later ones are more often the holders; the others are stale."""
        return self.given[-1 - pick % len(self.given)]

    @initialize(owners=st.lists(st.sampled_from(sorted(OWNERS)), min_size=3, max_size=5))
    def some_wait(self, owners: list[str]) -> None:
        for name, owner in zip(NAMES, owners, strict=False):
            self.submit(name, owner, 0, "cpu", 2.0, None)

    @rule(
        name=names,
        owner=st.sampled_from(sorted(OWNERS)),
        priority=st.integers(0, 1),
        resource=st.sampled_from(["cpu", "cpu", "gpu"]),
        budget=budgets,
        key=st.sampled_from([None, None, "k1", "k2"]),
    )
    def submit(
        self,
        name: str,
        owner: str,
        priority: int,
        resource: str,
        budget: float | None,
        key: str | None,
    ) -> None:
        config = {} if budget is None else {"budget": {"usd": budget}}
        spec = Spec("distillation", config, priority=priority, resource=resource)
        self._asked(
            lambda: self.store.submit(spec, owner=owner, name=name, key=key).name,
            lambda: self.model.submit(name, owner, priority, resource, budget, key),
        )

    @rule(slot=st.sampled_from(sorted(SLOTS)))
    def claim(self, slot: str) -> None:
        drawn: list[Lease] = []

        def call() -> str | None:
            if lease := self.store.claim(slot, SLOTS[slot]):
                drawn.append(lease)
                return lease.job
            return None

        self._asked(
            call,
            lambda: self.model.claim(slot, SLOTS[slot], self._token_at(slot), self.clock.now),
        )
        self.given += drawn

    def _token_at(self, slot: str) -> str:
        row = self.file.execute("SELECT token FROM leases WHERE slot = ?", (slot,)).fetchone()
        return "" if row is None else str(row["token"])

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def heartbeat(self, pick: int) -> None:
        lease = self._lease(pick)
        self._asked(
            lambda: self.store.heartbeat(lease),
            lambda: self.model.heartbeat(lease.job, lease.token, self.clock.now),
        )

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def next_step(self, pick: int) -> None:
        job = self.model.jobs.get(self._lease(pick).job)
        if job and job.state in STEPS[:-1]:
            self.advance(pick, State(STEPS[STEPS.index(job.state) + 1]))

    @precondition(lambda self: self.given)
    @rule(pick=picks, state=st.sampled_from(State))
    def advance(self, pick: int, state: State) -> None:
        lease = self._lease(pick)
        self._asked(
            lambda: self.store.advance(lease, state),
            lambda: self.model.advance(lease.job, lease.token, state, self.clock.now),
        )

    @precondition(lambda self: self.given)
    @rule(pick=picks, stage=st.sampled_from(["generate", "finetune"]))
    def report(self, pick: int, stage: str) -> None:
        lease = self._lease(pick)
        self._asked(
            lambda: self.store.report(lease, "progress", {"stage": stage}),
            lambda: self.model.report(lease.job, lease.token, stage, self.clock.now),
        )

    @precondition(lambda self: self.given)
    @rule(pick=picks, usd=st.sampled_from([None, 0.5, 2.0]))
    def spend(self, pick: int, usd: float | None) -> None:
        lease = self._lease(pick)
        self._asked(
            lambda: self.store.report(lease, "spent", {"usd": usd, "requests": 1}),
            lambda: self.model.spend(lease.job, lease.token, usd, self.clock.now),
        )

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        lease = self._lease(pick)
        self._asked(
            lambda: self.store.give_back(lease),
            lambda: self.model.give_back(lease.job, lease.token, self.clock.now),
        )

    @rule(slot=st.sampled_from(sorted(SLOTS)), report=st.booleans())
    def a_worker_comes_and_ends(self, slot: str, report: bool) -> None:
        before = len(self.given)
        self.claim(slot)
        if len(self.given) > before:
            if report:
                self.report(0, "generate")
            self.worker_ends(0)

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def worker_ends(self, pick: int) -> None:
        lease = self._lease(pick)
        self._asked(
            lambda: self.store.take_back_of(lease),
            lambda: self.model.take_back_of(lease.job, lease.token),
        )

    @rule()
    def take_back(self) -> None:
        self._asked(
            lambda: set(self.store.take_back()), lambda: self.model.take_back(self.clock.now)
        )

    @precondition(lambda self: self.model.lasting())
    @rule(pick=picks, late=st.sampled_from([0.0, 0.5]))
    def a_lease_runs_out(self, pick: int, late: float) -> None:
        lasting = self.model.lasting()
        self.clock.now = max(self.clock.now, lasting[pick % len(lasting)] + late)
        self.take_back()

    @rule(name=names)
    def cancel(self, name: str) -> None:
        self._asked(
            lambda: self.store.cancel(name).state,
            lambda: self.model.stop(name, "CancelRequested", "Canceled"),
        )

    @rule(name=names)
    def pause(self, name: str) -> None:
        self._asked(
            lambda: self.store.pause(name).state,
            lambda: self.model.stop(name, "PauseRequested", "Paused"),
        )

    @precondition(lambda self: self.model.lasting())
    @rule(pick=picks, pause=st.booleans(), step=st.sampled_from(STEPS))
    def one_in_hand_is_stopped(self, pick: int, pause: bool, step: str) -> None:
        tokens = [job.held.token for job in self.model.jobs.values() if job.held]
        held = [back for back, lease in enumerate(reversed(self.given)) if lease.token in tokens]
        if held:  # the answer that told of a lease may have been lost
            back = held[pick % len(held)]
            (self.pause if pause else self.cancel)(self._lease(back).job)
            self.advance(back, State(step))

    @rule(name=names)
    def resume(self, name: str) -> None:
        self._asked(lambda: self.store.resume(name).state, lambda: self.model.resume(name))

    @rule(name=names)
    def delete(self, name: str) -> None:
        self._asked(lambda: self.store.delete(name), lambda: self.model.delete(name))

    @rule(seconds=st.sampled_from([0.0, 10.0, LEASE_S, LEASE_S + 0.5]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds

    @rule(seconds=st.sampled_from([-1e6, -LEASE_S - 1, LEASE_S + 1, 1e6]))
    def the_clock_is_set(self, seconds: float) -> None:
        """Which ends no lease and makes none last."""
        self.wall.now += seconds
        self.take_back()

    @rule()
    def the_machine_starts_anew(self) -> None:
        self.another_process()
        self.clock.now = 5.0

    @rule(instructions=st.integers(1, 600))
    def the_next_call_is_broken_off(self, instructions: int) -> None:
        self.fuse = instructions

    @rule()
    def another_process(self) -> None:
        self.store.database.close()
        self._open()

    @invariant()
    def the_file_is_as_the_model_says(self) -> None:
        """No job is lost, none held twice, none in a wrong state."""
        assert self._in_file() == self._in_model()

    def _in_file(self) -> dict[str, Any]:
        """Read beside the store."""
        seen: dict[str, set[str]] = {}
        for row in self.file.execute("SELECT job, data FROM events WHERE kind = 'progress'"):
            seen.setdefault(row["job"], set()).add(json.loads(row["data"])["stage"])
        rows = self.file.execute("SELECT * FROM jobs LEFT JOIN leases ON leases.job = jobs.name")
        return {
            row["name"]: (
                (row["state"], row["attempts"], row["vanished"], row["spent_usd"]),
                (row["token"], row["slot"], row["expires"]),
                seen.get(row["name"], set()),
            )
            for row in rows
        }

    def _in_model(self) -> dict[str, Any]:
        return {
            name: (
                (job.state, job.attempts, job.vanished, job.spent),
                (job.held.token, job.held.slot, job.held.until) if job.held else (None,) * 3,
                job.stages,
            )
            for name, job in self.model.jobs.items()
        }

    @invariant()
    def each_history_is_legal(self) -> None:
        told: dict[str, list[tuple[str, str]]] = {}
        for row in self.file.execute("SELECT * FROM events WHERE kind = 'state' ORDER BY number"):
            data = json.loads(row["data"])
            told.setdefault(row["job"], []).append((data["before"], data["state"]))
        assert told.keys() == self.model.jobs.keys()
        for name, moves in told.items():
            assert set(moves) <= LEGAL
            assert moves[0][0] == "NotStarted" and moves[-1][1] == self.model.jobs[name].state
            assert all(one[1] == other[0] for one, other in pairwise(moves))

    @invariant()
    def money_adds_up(self) -> None:
        for owner in OWNERS:
            assert self.store.standing(owner)[1].usd == self.model.usd(owner)


SEQUENCES = 2000 if LONG else 60


def test_the_store_is_its_model() -> None:
    checked = settings(
        max_examples=SEQUENCES,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(StoreMachine, settings=checked)
    record("R17", "sequences of 50 steps on the store", tried=SEQUENCES)
