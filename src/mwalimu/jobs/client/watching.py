"""A job as somebody at a terminal sees it."""

from __future__ import annotations

from collections.abc import Callable

from mwalimu.jobs.client.blocking import Client
from mwalimu.jobs.client.plans import LogLine
from mwalimu.jobs.client.problems import of_job
from mwalimu.jobs.client.told import JobInfo
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.states import State
from mwalimu.progress import Progress


def watch(
    client: Client, name: str, *, progress: Progress, line: Callable[[str], None] | None = None
) -> JobInfo:
    """Tells of it until it has ended, its log only to `line`."""
    for told in client.stream(name):
        if isinstance(told, LogLine):
            if line is not None:
                line(told.text)
        elif told.kind == "state":
            progress(name, 0, 0, told.data["state"])
        elif told.kind == "progress":
            data = told.data
            progress(data["stage"], data["done"], data["total"], plain(data["note"]))
    return client.job(name)


def require_completed(job: JobInfo) -> JobInfo:
    """Raises the error that it has failed with, by its exit code; WrongState if it was stopped."""
    if job.state is State.FAILED:
        raise of_job(job.error, job.name)
    if job.state is not State.COMPLETED:
        raise WrongState(
            f"is {job.state}", where=job.name, fix=f"go on with 'mwalimu jobs resume {job.name}'"
        )
    return job


def plain(text: str) -> str:
    """Without what a terminal would obey: text of a model or of a stranger may hold anything."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
