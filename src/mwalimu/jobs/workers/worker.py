"""A worker: a process of its own that has one lease, does its job, says how it ended, and ends.

    python -m mwalimu.jobs.workers.worker --workspace DIR < lease.json

It goes on without the server. Whatever kills it leaves the job to the next worker, which goes on
from what is on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from mwalimu.data.record import Json
from mwalimu.errors import BUG, MachineError, RunError, explained
from mwalimu.files import exclusive
from mwalimu.garbage import left_at_the_end
from mwalimu.jobs.records import Lease
from mwalimu.jobs.refusals import JobNotFound, LostLease, WrongState
from mwalimu.jobs.states import STOPS, State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.holding import held
from mwalimu.jobs.workers.pulse import Pulse
from mwalimu.jobs.workers.task import Task, Works
from mwalimu.jobs.workspace import Workspace
from mwalimu.progress import live_progress
from mwalimu.telemetry import logs, setting_up, tracing

DYING_S = 10.0  # that a worker which lost its lease may take to end


def work(workspace: Workspace, store: JobStore, lease: Lease, works: Works) -> None:
    """Does the leased job to its end. Raises LostLease: it is another worker's now."""
    workspace.job(lease.job).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(workspace.worker(lease.job), patience_s=DYING_S))
            stack.enter_context(exclusive(workspace.run(lease.job), "run folder"))
        except RunError as error:
            print(f"given back: {error}", file=sys.stderr, flush=True)
            return store.give_back(lease)
        _work_alone(workspace, store, lease, works)


def _work_alone(workspace: Workspace, store: JobStore, lease: Lease, works: Works) -> None:
    def enter(state: State) -> None:
        store.advance(lease, state)

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        pulse.tell(stage, done, total, note)
        lines(stage, done, total, note)

    job = store.get(lease.job)
    chosen = works(job, workspace)
    pulse = Pulse(store, lease, chosen.spent)
    end: State | None = State.COMPLETED
    found: dict[str, Any] = {}
    try:
        told = tracing.span("job", {"mwalimu.job": job.name}, parent=job.trace)
        with live_progress() as lines, pulse, told:
            enter(State.PREPARING)
            outcome = chosen.do(Task(job, workspace, store, enter, tell))
        found = {"summary": outcome.summary}
        if outcome.failure is not None:
            end, found["error"] = State.FAILED, as_problem(outcome.failure, workspace)
    except LostLease:
        raise
    except KeyboardInterrupt:
        end = None
    except Exception as error:
        if known := explained(error):
            print(f"error: {workspace.told(str(known))}", file=sys.stderr)
        else:
            print(workspace.told(traceback.format_exc()), end="", file=sys.stderr)
        end, found = State.FAILED, {"error": as_problem(error, workspace)}
        bug = None if known else error
        logs.say("job failed", logs.ERROR, error=type(error).__name__, bug=bug)
    _say(store, lease, end, found | _money(chosen.spent()))


def as_problem(error: Exception, workspace: Workspace) -> Json:
    """What a job's `error` holds."""
    told = workspace.told
    if known := explained(error):
        place = {"what": known.what, "where": known.where, "fix": known.fix}
        return {name: told(text) for name, text in place.items()} | {"exit_code": known.exit_code}
    return {
        "what": told(f"unexpected {type(error).__name__}: {error}"),
        "where": "",
        "fix": "this is a bug of mwalimu; report it with the job's log",
        "exit_code": BUG,
    }


def _money(spent: Json | None) -> dict[str, Any]:
    return {} if spent is None else {"spent_usd": spent["usd"]}


def _say(store: JobStore, lease: Lease, end: State | None, found: dict[str, Any]) -> None:
    """The last word; a store that cannot be written now is tried again while the lease holds."""
    while True:
        try:
            if end is None:
                _stopped(store, lease, found)
            else:
                store.advance(lease, end, **found)
        except (WrongState, JobNotFound):
            raise
        except (RunError, MachineError) as error:
            print(f"the store cannot be written: {error}", file=sys.stderr, flush=True)
            time.sleep(1)
        else:
            return


def _stopped(store: JobStore, lease: Lease, found: dict[str, Any]) -> None:
    """As it was asked for; a worker that was told to end by a signal gives the job back."""
    while (state := store.heartbeat(lease)) in STOPS:
        try:
            return store.advance(lease, STOPS[state], **found)
        except WrongState:
            continue  # a pause became a cancel in between
    store.give_back(lease)


def listen() -> None:
    """Makes SIGTERM what Ctrl-C is, also where the starter had that one ignored."""

    def pass_on(_signal: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, pass_on)


def main(works: Works) -> int:
    """0: the job has ended, one way or the other, or was given back."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, required=True)
    options = parser.parse_args()
    listen()
    lease = Lease(**json.load(sys.stdin))
    workspace = Workspace(options.workspace)
    with setting_up.child(job=lease.job, worker=os.getpid(), slot=lease.slot):
        logs.say("worker begins")
        try:
            work(workspace, JobStore(workspace.database), lease, works)
        except (LostLease, KeyboardInterrupt) as error:
            print(f"worker ends: {type(error).__name__}", file=sys.stderr)
            logs.say("worker ended", logs.WARNING, error=type(error).__name__)
            return 1
        logs.say("worker ended")
        return 0


if __name__ == "__main__":
    from mwalimu.jobs.workers.kinds import work_of

    left_at_the_end()
    sys.exit(main(work_of))
