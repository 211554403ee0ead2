"""What the routes answer: the shapes of docs/service.md, checked here by types alone."""

from __future__ import annotations

from typing import Any, NotRequired

import orjson
from fastapi import Response
from typing_extensions import TypedDict

from mwalimu.data.record import Json
from mwalimu.jobs.records import Event, Job, RegisteredDataset, RegisteredModel

Responses = dict[int | str, dict[str, Any]]


class BadRowTold(TypedDict):
    line: int
    field: str
    problem: str
    fix: str


class ErrorTold(TypedDict):
    what: str
    where: str
    fix: str
    code: str
    rows: NotRequired[list[BadRowTold]]


class ProblemTold(TypedDict):
    error: ErrorTold


class Failure(TypedDict):
    what: str
    where: str
    fix: str
    exit_code: int


class JobTold(TypedDict):
    name: str
    owner: str
    kind: str
    state: str
    display_name: str
    experiment_name: str
    tags: dict[str, str]
    priority: int
    resource: str
    registers: list[str]
    created: float
    changed: float
    started: float | None
    ended: float | None
    attempts: int
    error: Failure | None
    summary: Json
    spent_usd: float | None
    studio_url: str


class JobsTold(TypedDict):
    jobs: list[JobTold]
    next: float | None


class ModelTold(TypedDict):
    name: str
    version: int
    job: str
    created: float
    properties: Json


class ModelsTold(TypedDict):
    models: list[ModelTold]


class DatasetTold(TypedDict):
    name: str
    version: int
    sha256: str
    rows: int
    size: int
    task: str
    owner: str
    created: float


class DatasetsTold(TypedDict):
    datasets: list[DatasetTold]


class EventTold(TypedDict):
    number: int
    job: str
    time: float
    kind: str
    data: Json


def job_told(job: Job, url: str) -> JobTold:
    """`url` is that of the dashboard, without a slash at its end."""
    spec = job.spec
    return JobTold(
        name=job.name,
        owner=job.owner,
        kind=spec.kind,
        state=job.state,
        display_name=spec.display_name,
        experiment_name=spec.experiment_name,
        tags=spec.tags,
        priority=spec.priority,
        resource=spec.resource,
        registers=list(spec.registers),
        created=job.created,
        changed=job.changed,
        started=job.started,
        ended=job.ended,
        attempts=job.attempts,
        error=None if job.error is None else _failure(job.error),
        summary=job.summary,
        spent_usd=job.spent_usd,
        studio_url=f"{url}/#/jobs/{job.name}",
    )


def model_told(model: RegisteredModel, properties: Json) -> ModelTold:
    """`properties` are the model's, without places on the server."""
    return ModelTold(
        name=model.name,
        version=model.version,
        job=model.job,
        created=model.created,
        properties=properties,
    )


def dataset_told(dataset: RegisteredDataset) -> DatasetTold:
    """Without its file: a place on the server is nobody's matter."""
    return DatasetTold(
        name=dataset.name,
        version=dataset.version,
        sha256=dataset.sha256,
        rows=dataset.rows,
        size=dataset.size,
        task=dataset.task,
        owner=dataset.owner,
        created=dataset.created,
    )


def event_told(event: Event) -> EventTold:
    return EventTold(
        number=event.number, job=event.job, time=event.time, kind=event.kind, data=event.data
    )


def _failure(error: Json) -> Failure:
    return Failure(
        what=error["what"], where=error["where"], fix=error["fix"], exit_code=error["exit_code"]
    )


def encoded(value: Any) -> bytes:
    """JSON; half of a surrogate pair becomes its escape, a number that is none becomes null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_whole(value))


def tell(value: Any, status: int = 200) -> Response:
    return Response(encoded(value), status, media_type="application/json")


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value
