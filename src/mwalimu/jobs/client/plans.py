"""What takes several requests, as steps that either client carries out.

A plan yields a Call and is sent what it gave, yields seconds to wait, and yields what it has to
tell; it returns its result. An event stream may break at any place: all is asked from a number on.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mwalimu.data.record import Json
from mwalimu.jobs.client import files, requests
from mwalimu.jobs.client.files import RowsFile
from mwalimu.jobs.client.problems import WaitedTooLong
from mwalimu.jobs.client.requests import Call
from mwalimu.jobs.client.told import DatasetInfo, JobInfo
from mwalimu.jobs.records import Event
from mwalimu.jobs.states import ENDED

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.1, 1.0  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """Of a job's log, without its end."""

    job: str
    text: str


Told = Event | LogLine
Step = Call[Any] | Pause | Told
Plan = Generator[Step, Any, T]


def wait(name: str, *, timeout: float | None = None) -> Plan[JobInfo]:
    """Until the job has ended (Completed, Failed, Canceled or Paused); `timeout` is in seconds.

    Raises WaitedTooLong.
    """
    until = None if timeout is None else time.monotonic() + timeout
    pause = _SHORTEST
    while True:
        found: JobInfo = yield requests.job(name)
        if found.state in ENDED:
            return found
        if until is not None and time.monotonic() >= until:
            raise WaitedTooLong(
                f"is {found.state} after {timeout:g} s", where=name, fix="it goes on; wait longer"
            )
        yield Pause(pause)
        pause = min(1.5 * pause, _LONGEST)


def upload(found: RowsFile, task: str) -> Plan[DatasetInfo]:
    """Nothing is sent that the service has."""
    there: list[DatasetInfo] = yield requests.datasets()
    for known in there:
        if (known.name, known.sha256) == (found.dataset, found.sha256):
            return known
    sent: DatasetInfo = yield requests.upload(found.dataset, found.path, task=task)
    return sent


def submit(submission: Json, found: Sequence[RowsFile]) -> Plan[JobInfo]:
    """With the files of its config uploaded."""
    config, names = submission["config"], {}
    for file in found:
        dataset = yield from upload(file, str(config.get("task", "generic")))
        names[file.key] = reference(dataset)
    made: JobInfo = yield requests.submit({**submission, "config": files.named(config, names)})
    return made


def reference(dataset: DatasetInfo) -> str:
    return f"dataset:{dataset.name}@{dataset.version}"


def stream(name: str, *, after: int = 0) -> Plan[JobInfo]:
    """Its events above number `after` and its log's lines, as they come, until it has ended."""
    log, number, pause = LogLines(name), after, _SHORTEST
    while True:
        # The state is asked first: what happened before it ended is told by what follows.
        found: JobInfo = yield requests.job(name)
        news = False
        while events := (yield requests.events(after=number, job=name)):
            yield from events
            number, news = events[-1].number, True
        while written := (yield requests.log(name, after=log.position)):
            yield from log.taken(written)
            news = True
        if found.state in ENDED:
            yield from log.rest()
            return found
        pause = _SHORTEST if news else min(1.5 * pause, _LONGEST)
        yield Pause(pause)


class LogLines:
    """Bytes as they come -> whole lines."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.position = 0
        self._torn = b""

    def taken(self, written: bytes) -> list[LogLine]:
        self.position += len(written)
        *whole, self._torn = (self._torn + written).split(b"\n")
        return [LogLine(self.job, line.decode("utf-8", "replace")) for line in whole]

    def rest(self) -> list[LogLine]:
        torn, self._torn = self._torn, b""
        return [LogLine(self.job, torn.decode("utf-8", "replace"))] if torn else []
