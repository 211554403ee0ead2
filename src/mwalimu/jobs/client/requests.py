"""Every request of the service: how it is asked, and what its answer is read as; nothing is sent.

A `Call` that is `safe` may be sent twice: it changes nothing, or the second time nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from mwalimu.data.record import Json
from mwalimu.jobs.client import told
from mwalimu.jobs.client.told import Artefact, DatasetInfo, JobInfo, JobPage, Metrics, ModelInfo
from mwalimu.jobs.paging import PAGE, SAMPLES
from mwalimu.jobs.records import Event, Role
from mwalimu.jobs.states import State
from mwalimu.jobs.workspace import drawn_name

T = TypeVar("T")
Query = Mapping[str, str | int | float | None]
Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`content` is a file that is sent as it is; `read` makes the answer's body what is wanted.

    `arrived` is asked instead where a second attempt is told that the first had got through.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    read: Callable[[bytes], T]
    query: Query = field(default_factory=dict)
    body: Json | None = None
    content: Path | None = None
    safe: bool = True
    arrived: Call[T] | None = None


def _json(read: Callable[[Json], T]) -> Callable[[bytes], T]:
    return lambda body: read(json.loads(body))


def _as_it_is(told: Json) -> Json:
    return told


def _nothing(body: bytes) -> None:
    return None


def _get(path: str, read: Callable[[Json], T], **query: str | int | float | None) -> Call[T]:
    return Call("GET", path, _json(read), query)


def _part(name: str) -> str:
    """A name as one part of a path, whatever is in it."""
    return quote(name, safe="") if name.strip(".") else quote(name, safe="").replace(".", "%2E")


def _of_job(job: str, what: str = "") -> str:
    return f"/v1/jobs/{_part(job)}{what}"


def _once(path: str, body: Json) -> Call[JobInfo]:
    """Makes a job. One whose name somebody chose may be another's: that is not sent twice."""
    name = body.get("name") or drawn_name()
    drawn = not body.get("name")
    return Call(
        "POST",
        path,
        _json(told.job),
        body={**body, "name": name},
        safe=drawn,
        arrived=job(name) if drawn else None,
    )


def health() -> Call[Json]:
    return _get("/health", _as_it_is)


def me() -> Call[Json]:
    """Whose token it is: name, role, quota, and what is used of it."""
    return _get("/v1/me", _as_it_is)


def webhook_secret() -> Call[str]:
    """What the receiver of one's webhooks knows their signatures by."""
    return _get("/v1/me/webhook-secret", lambda told: str(told["secret"]))


def submit(submission: Json) -> Call[JobInfo]:
    """A job that has no name is given one here: sent twice, it is one job."""
    return _once("/v1/jobs", submission)


def estimate(submission: Json) -> Call[Json]:
    """What `mwalimu estimate --json` says of it; spends nothing."""
    return Call("POST", "/v1/jobs/estimate", _json(_as_it_is), body=submission)


def jobs(
    *,
    state: State | str | None = None,
    owner: str | None = None,
    kind: str | None = None,
    limit: int = PAGE,
    before: float | str | None = None,
) -> Call[JobPage]:
    """The newest first; `before` is the `next` of the page before."""
    return _get(
        "/v1/jobs", told.page, state=state, owner=owner, kind=kind, limit=limit, before=before
    )


def job(name: str) -> Call[JobInfo]:
    return _get(_of_job(name), told.job)


def delete(name: str) -> Call[None]:
    """With its files, but not what it registered."""
    return Call("DELETE", _of_job(name), _nothing, safe=False)


def cancel(name: str) -> Call[JobInfo]:
    return Call("POST", _of_job(name, "/cancel"), _json(told.job))


def pause(name: str) -> Call[JobInfo]:
    return Call("POST", _of_job(name, "/pause"), _json(told.job))


def resume(name: str) -> Call[JobInfo]:
    """Goes on where it was."""
    return Call("POST", _of_job(name, "/resume"), _json(told.job), safe=False)


def config(name: str) -> Call[Json]:
    return _get(_of_job(name, "/config"), _as_it_is)


def log(name: str, *, after: int = 0) -> Call[bytes]:
    """What is written of it from byte `after`."""
    return Call("GET", _of_job(name, "/logs"), bytes, {"after": after})


def metrics(name: str, *, after: int = 0) -> Call[Metrics]:
    """From line `after`."""
    return _get(_of_job(name, "/metrics"), told.metrics, after=after)


def progress(name: str) -> Call[Json]:
    return _get(_of_job(name, "/progress"), _as_it_is)


def funnel(name: str) -> Call[Json]:
    return _get(_of_job(name, "/funnel"), _as_it_is)


def spend(name: str) -> Call[Json]:
    return _get(_of_job(name, "/spend"), _as_it_is)


def samples(name: str, *, limit: int = SAMPLES) -> Call[Json]:
    return _get(_of_job(name, "/samples"), _as_it_is, limit=limit)


def scores(name: str) -> Call[Json]:
    return _get(_of_job(name, "/scores"), _as_it_is)


def artefacts(name: str) -> Call[list[Artefact]]:
    return _get(_of_job(name, "/artefacts"), told.listed("files", told.artefact))


def artefact_path(name: str, path: str) -> str:
    return _of_job(name, f"/artefacts/{'/'.join(_part(part) for part in path.split('/'))}")


def ask(
    name: str, messages: Sequence[Message], *, max_tokens: int = 256, pay: bool = False
) -> Call[Json]:
    """The student's answer and the teacher's; with `pay` also where that costs something."""
    body = {"messages": [dict(m) for m in messages], "max_tokens": max_tokens, "pay": pay}
    return Call("POST", _of_job(name, "/ask"), _json(_as_it_is), body=body, safe=not pay)


def events(*, after: int = 0, job: str | None = None) -> Call[list[Event]]:
    """Those with a number above `after` that have happened."""
    query = {"after": after, "job": job, "follow": "false"}
    return Call("GET", "/v1/events", lambda body: told.events(body.decode()), query)


def compare(jobs: Sequence[str]) -> Call[Json]:
    return _get("/v1/compare", _as_it_is, jobs=",".join(jobs))


def models() -> Call[list[ModelInfo]]:
    return _get("/v1/models", told.listed("models", told.model))


def model(name: str, *, version: int | None = None) -> Call[ModelInfo]:
    """The newest without `version`."""
    return _get(f"/v1/models/{_part(name)}", told.model, version=version)


def register(name: str, job: str) -> Call[ModelInfo]:
    """The student of a finished job."""
    body = {"name": name, "job": job}
    return Call("POST", "/v1/models", _json(told.model), body=body, safe=False)


def delete_model(name: str, version: int) -> Call[None]:
    return Call("DELETE", f"/v1/models/{_part(name)}/{version}", _nothing, safe=False)


def model_archive_path(name: str, version: int) -> str:
    return f"/v1/models/{_part(name)}/{version}/download"


def evaluate(
    name: str, dataset: str, *, metrics: Sequence[str] = (), version: int | None = None
) -> Call[JobInfo]:
    """A job of kind evaluation; its `summary` holds the metrics."""
    body: Json = {"version": version, "dataset": dataset, "metrics": list(metrics)}
    return _once(f"/v1/models/{_part(name)}/evaluate", body)


def datasets() -> Call[list[DatasetInfo]]:
    return _get("/v1/datasets", told.listed("datasets", told.dataset))


def dataset(name: str) -> Call[DatasetInfo]:
    return _get(f"/v1/datasets/{_part(name)}", told.dataset)


def upload(name: str, file: Path, *, task: str) -> Call[DatasetInfo]:
    """Rows as JSONL; equal bytes under the same name are the same version."""
    path = f"/v1/datasets/{_part(name)}"
    return Call("PUT", path, _json(told.dataset), {"task": task}, content=file)


def validate(file: Path, *, task: str) -> Call[Json]:
    """The check of an upload; nothing is kept."""
    return Call("POST", "/v1/datasets/validate", _json(_as_it_is), {"task": task}, content=file)


def delete_dataset(name: str) -> Call[None]:
    return Call("DELETE", f"/v1/datasets/{_part(name)}", _nothing, safe=False)


def registry() -> Call[Json]:
    """The teachers and students that a submission may name."""
    return _get("/v1/registry", _as_it_is)


def schema() -> Call[Json]:
    return _get("/v1/schema", _as_it_is)


def states() -> Call[list[Json]]:
    """Those of a job, each with what may be asked in it."""
    return _get("/v1/states", told.listed("states", _as_it_is))


def tokens() -> Call[list[Json]]:
    return _get("/v1/tokens", told.listed("tokens", _as_it_is))


def create_token(name: str, role: Role | str, *, expires: float | None = None) -> Call[Json]:
    """The one time that it is shown."""
    body: dict[str, Any] = {"name": name, "role": role, "expires": expires}
    return Call("POST", "/v1/tokens", _json(_as_it_is), body=body, safe=False)


def revoke_token(name: str) -> Call[None]:
    return Call("DELETE", f"/v1/tokens/{_part(name)}", _nothing, safe=False)


def audit(*, after: int = 0, limit: int = PAGE) -> Call[list[Json]]:
    return _get("/v1/audit", told.listed("entries", _as_it_is), after=after, limit=limit)
