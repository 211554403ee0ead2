"""What the store holds and the service tells, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from mwalimu.data.record import Json
from mwalimu.jobs.states import State

Kind = Literal["distillation", "evaluation"]
"""A distillation is a whole distill.yaml; an evaluation asks one registered model test rows."""


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asks: the name and the role of a token."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Spec:
    """What a job is to do, already admitted: `config` is a whole valid one, its files in the
    workspace. Of an evaluation: `{"model": name, "version": N, "test": path, "metrics": [...]}`."""

    kind: Kind
    config: Json
    display_name: str = ""
    experiment_name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    priority: int = 0  # the higher the sooner; equals in the order they came
    resource: str = "cpu"  # the kind of slot it takes
    registers: tuple[str, ...] = ()  # names of the models: the student's, then the baseline's
    webhook: str | None = None
    uses: tuple[str, ...] = ()  # dataset:NAME@VERSION and model:NAME@VERSION; not to be deleted


@dataclass(frozen=True, slots=True)
class Job:
    """Times are seconds since 1970, UTC. `spent_usd` is None where a price is unknown.

    `created` is another one for each job and grows with them, whatever the clock does.
    `attempts` counts the workers that have had it since it was submitted or resumed, but for those
    that gave it back. `trace` is traceparent and tracestate of what submitted it, where that was
    traced.
    """

    name: str
    owner: str
    state: State
    spec: Spec
    created: float
    changed: float
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    error: Json | None = None  # {"what", "where", "fix", "exit_code"}
    summary: Json = field(default_factory=dict)
    spent_usd: float | None = None
    trace: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to a job until `expires`, in seconds of the machine's monotonic clock;
    `token` is drawn anew each time it is given."""

    job: str
    token: str
    slot: str
    expires: float
    seconds: float = 30.0  # that each heartbeat adds


@dataclass(frozen=True, slots=True)
class Event:
    """`number` grows over the whole store, so that a reader can ask for what is new.

    kind "state": {"state", "before"}, every one kept; "progress": {"stage", "done", "total",
    "note"}, the newest of each stage; "spent": {"usd", "requests"} so far, the newest.
    """

    number: int
    job: str
    time: float
    kind: str
    data: Json


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """`folder` is a plain transformers folder in the workspace; versions count from 1."""

    name: str
    version: int
    job: str
    folder: str
    created: float
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredDataset:
    """A file of rows that was uploaded and found valid; equal bytes are the same version."""

    name: str
    version: int
    sha256: str
    rows: int
    size: int  # bytes
    task: str
    file: str  # relative to the workspace
    owner: str
    created: float
