"""The thread beside a job: it keeps the lease, tells how far the job is, hears a request to stop.

All of the worker's writing to the store while the job runs is here, so that a training step never
waits for a disk.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

from mwalimu.data.record import Json
from mwalimu.errors import MachineError, RunError
from mwalimu.jobs.records import Lease
from mwalimu.jobs.refusals import JobNotFound, LostLease
from mwalimu.jobs.states import STOPS
from mwalimu.jobs.store.job_store import JobStore

TICK_S = 0.5
BEATS = 3  # in the time of a lease
PATIENCE_S = 60.0  # between a request to stop and the next, firmer one

Spent = Callable[[], Json | None]
"""What the job has spent until now: {"usd", "requests", "tokens"}; None where nothing is known."""


class Pulse:
    """Used as a context manager around the job, by the main thread."""

    def __init__(self, store: JobStore, lease: Lease, spent: Spent) -> None:
        self.store = store
        self.lease = lease
        self.spent = spent
        self._news: dict[str, Json] = {}
        self._told: Json | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._main = threading.main_thread().ident
        self._beaten = time.monotonic()
        self._asked: list[float] = []
        self._thread = threading.Thread(target=self._live, name="pulse", daemon=True)

    def tell(self, stage: str, done: int, total: int, note: str = "") -> None:
        """A progress callback: the newest of a stage is told. Remarks (total 0) are the log's."""
        if total:
            with self._lock:
                self._news[stage] = {"stage": stage, "done": done, "total": total, "note": note}

    def __enter__(self) -> Pulse:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job has ended: too late to stop it
        self._done.set()
        self._thread.join()
        self._guarded(self._last)

    def _live(self) -> None:
        while not self._done.wait(TICK_S):
            self._guarded(self._once)

    def _once(self) -> None:
        self._tell_news()
        if time.monotonic() - self._beaten >= self.lease.seconds / BEATS:
            self._beat()
            self._tell_spent()
        if self.store.get(self.lease.job).state in STOPS:
            self._interrupt()

    def _last(self) -> None:
        self._tell_news()
        self._tell_spent()

    def _guarded(self, step: Callable[[], None]) -> None:
        """A store that is busy is tried again, but not beyond the lease."""
        try:
            step()
        except (LostLease, JobNotFound):
            end_at_once("the job is no longer this worker's")
        except (RunError, MachineError) as error:
            if time.monotonic() - self._beaten > self.lease.seconds:
                end_at_once(f"the store cannot be written ({error})")

    def _beat(self) -> None:
        before = time.monotonic()
        self.store.heartbeat(self.lease)
        self._beaten = before

    def _tell_news(self) -> None:
        with self._lock:
            news = dict(self._news)
        for stage, data in news.items():
            self.store.report(self.lease, "progress", data)
            with self._lock:
                if self._news[stage] is data:
                    del self._news[stage]

    def _tell_spent(self) -> None:
        found = self.spent()
        if found is not None and found != self._told:
            self.store.report(self.lease, "spent", found)
            self._told = found

    def _interrupt(self) -> None:
        """As Ctrl-C does, once more if it was not heard; who does not hear that is ended."""
        now = time.monotonic()
        if self._asked and now - self._asked[-1] < PATIENCE_S:
            return
        if len(self._asked) == 2:
            end_at_once("was asked to stop twice and did not")
        self._asked.append(now)
        assert self._main is not None
        signal.pthread_kill(self._main, signal.SIGINT)


def end_at_once(why: str) -> NoReturn:
    """Nothing is written after this, neither by this process nor by what it has started."""
    print(f"worker ends: {why}", file=sys.stderr, flush=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
