"""What the service tells, as records; what a newer one adds is left out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mwalimu.data.record import Json
from mwalimu.jobs.records import Event
from mwalimu.jobs.states import State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobInfo:
    """Times are seconds since 1970. `error`: {"what", "where", "fix", "exit_code"}.

    `registers` are the models that it makes: the student's name, then the baseline's.
    """

    name: str
    owner: str
    kind: str
    state: State
    created: float
    changed: float
    display_name: str = ""
    experiment_name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    resource: str = "cpu"
    registers: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    error: Json | None = None
    summary: Json = field(default_factory=dict)
    spent_usd: float | None = None
    studio_url: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Versions count from 1."""

    name: str
    version: int
    job: str
    created: float
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """`size` is in bytes."""

    name: str
    version: int
    sha256: str
    rows: int
    size: int
    task: str
    owner: str
    created: float


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file of a job's run; `path` is relative to it, `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """`next` is the `before` of the page after this one."""

    jobs: list[JobInfo]
    next: float | str | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Lines of metrics.jsonl; `next` is the `after` of those that are not written yet."""

    lines: list[Json]
    next: int


def job(told: Json) -> JobInfo:
    found = _record(JobInfo, told)
    return dataclasses.replace(
        found, state=State(found.state), registers=tuple(found.registers or ())
    )


def page(told: Json) -> JobPage:
    return JobPage([job(one) for one in told["jobs"]], told.get("next"))


def metrics(told: Json) -> Metrics:
    return _record(Metrics, told)


def model(told: Json) -> ModelInfo:
    return _record(ModelInfo, told)


def dataset(told: Json) -> DatasetInfo:
    return _record(DatasetInfo, told)


def artefact(told: Json) -> Artefact:
    return _record(Artefact, told)


def listed(key: str, read: Callable[[Json], T]) -> Callable[[Json], list[T]]:
    """Of `{key: [...]}`."""
    return lambda told: [read(one) for one in told[key]]


def events(text: str) -> list[Event]:
    """Those of a whole text/event-stream; of a torn one, those that are whole."""
    blocks = text.replace("\r\n", "\n").split("\n\n")[:-1]
    found = (event(block.splitlines()) for block in blocks)
    return [one for one in found if one is not None]


def event(lines: list[str]) -> Event | None:
    """One block of an event stream; None for a comment."""
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return _record(Event, json.loads("\n".join(data))) if data else None


def _record(kind: type[T], told: Json) -> T:
    names = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in told.items() if key in names})
