"""Keeps the slots busy: a thread of the server that gives waiting jobs to workers.

It holds nothing that a restart would lose. Workers go on without it; those of an earlier server are
known by their leases and by the lock that each has on its job (`holding`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mwalimu.jobs.records import Lease
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.holding import holder
from mwalimu.jobs.workers.launching import Worker, end, kill
from mwalimu.jobs.workers.slots import Slot
from mwalimu.jobs.workspace import Workspace

ROUND_S = 0.5
STOP_S = 30.0
ENDING_S = 30.0  # that a process may take from its last word to its end
HOUSEKEEPING_S = 3600.0

Start = Callable[[Lease, Mapping[str, str]], Worker]


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(slots=True)
class _Held:
    """A lease that is out. `worker` is ours; of an earlier server's only its lock is seen, with
    the process `locked_by`."""

    lease: Lease
    worker: Worker | None = None
    locked_by: int | None = None
    over: float | None = None  # when its lease was found to be gone, while it was still there


class Supervisor:
    """Used as a context manager; at the end it asks the workers to stop, and their jobs wait for
    the next server. `housekeeping` is called now and then: what is too old goes. `note` is told
    what happens, a line each."""

    def __init__(
        self,
        workspace: Workspace,
        store: JobStore,
        slots: Sequence[Slot],
        start: Start,
        *,
        housekeeping: Callable[[], object] = lambda: None,
        note: Callable[[str], object] = _print,
    ) -> None:
        self.workspace = workspace
        self.store = store
        self.slots = slots
        self.start = start
        self.housekeeping = housekeeping
        self.note = note
        self._held: dict[str, _Held] = {}  # by the lease's token
        self._next_housekeeping = 0.0
        self._trouble = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._live, name="supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(STOP_S)

    def stop(self, timeout_s: float) -> None:
        """Workers that do not end in time are left alone: the next server finds them."""
        self._done.set()
        self._thread.join()
        for held in self._held.values():
            if (pid := self._pid(held)) is not None:
                end(pid)
        until = time.monotonic() + timeout_s
        while self._held and time.monotonic() < until:
            time.sleep(0.05)
            self._guarded(self._look)

    def _live(self) -> None:
        while not self._done.is_set():
            self._guarded(self._round)
            self._done.wait(ROUND_S)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Whatever it is, the other jobs are looked after; what lasts is said once."""
        try:
            step()
        except Exception as error:
            trouble = f"supervisor: {type(error).__name__}: {error}"
            if trouble != self._trouble:
                self.note(trouble)
            self._trouble = trouble
        else:
            self._trouble = ""

    def _round(self) -> None:
        self._look()
        self._end_late()
        busy = {held.lease.slot for held in self._held.values()}
        for slot in self.slots:
            if slot.name not in busy:
                self._fill(slot)
        if time.monotonic() >= self._next_housekeeping:
            self._next_housekeeping = time.monotonic() + HOUSEKEEPING_S
            self.housekeeping()

    def _look(self) -> None:
        """Who has a lease. The job of a worker that ended without a word is taken back at once."""
        out = {lease.token: lease for lease in self.store.leases()}
        for token, lease in out.items():
            held = self._held.setdefault(token, _Held(lease))
            if held.worker is None and held.locked_by is None:
                held.locked_by = self._lock_holder(held)
        for token, held in list(self._held.items()):
            if self._has_ended(held):
                if self.store.take_back_of(held.lease):
                    self.note(f"{held.lease.job}: its worker ended without a word")
                del self._held[token]
            elif token not in out:
                self._let_go(token, held)

    def _has_ended(self, held: _Held) -> bool:
        """Of another server's worker this is known only once it was seen to be there."""
        if held.worker is not None:
            return held.worker.poll() is not None
        return held.locked_by is not None and self._lock_holder(held) != held.locked_by

    def _let_go(self, token: str, held: _Held) -> None:
        """It has no lease, and should be about to end; until then its slot is not free."""
        if held.worker is None and held.locked_by is None:
            del self._held[token]
        elif held.over is None:
            held.over = time.monotonic()
        elif time.monotonic() - held.over > ENDING_S:
            self._kill(held)

    def _end_late(self) -> None:
        """A worker that let its lease run out is stopped, or stuck: it must not go on."""
        late = set(self.store.take_back())
        for held in self._held.values():
            if held.lease.job in late:
                self.note(f"{held.lease.job}: its worker let the lease run out")
                self._kill(held)

    def _fill(self, slot: Slot) -> None:
        lease = self.store.claim(slot.name, slot.resource)
        if lease is None:
            return
        try:
            worker = self.start(lease, slot.environment)
        except OSError:
            self.store.give_back(lease)
            raise
        self._held[lease.token] = _Held(lease, worker)
        self.note(f"{lease.job}: worker {worker.pid} in {slot.name}")

    def _kill(self, held: _Held) -> None:
        if (pid := self._pid(held)) is not None:
            kill(pid)

    def _pid(self, held: _Held) -> int | None:
        """None if it has ended, or is another server's and was never there."""
        if self._has_ended(held):
            return None
        return held.locked_by if held.worker is None else held.worker.pid

    def _lock_holder(self, held: _Held) -> int | None:
        return holder(self.workspace.worker(held.lease.job))
