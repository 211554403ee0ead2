"""A job as its worker does it: the task, the work on it, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mwalimu.data.record import Json
from mwalimu.errors import MwalimuError
from mwalimu.jobs.records import Job
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workspace import Workspace
from mwalimu.progress import Progress


@dataclass(frozen=True, slots=True)
class Task:
    """A job as its worker sees it. `enter` tells the store that the next state is reached."""

    job: Job
    workspace: Workspace
    store: JobStore
    enter: Callable[[State], None]
    tell: Progress

    @property
    def folder(self) -> Path:
        return self.workspace.job(self.job.name)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job; `failure` where it was done, but is not good enough."""

    summary: Json = field(default_factory=dict)
    failure: MwalimuError | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """How a job is done: `do` begins in Preparing and leads through Running into Finalizing.

    `spent` is {"usd", "requests", "tokens"} until now, or None; another thread asks it.
    """

    do: Callable[[Task], Outcome]
    spent: Callable[[], Json | None] = lambda: None


Works = Callable[[Job, Workspace], Work]
"""The work that a job asks for."""
