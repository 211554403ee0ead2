"""Jobs: submitted, listed, stopped, taken up again, deleted."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from mwalimu.config import build_config
from mwalimu.jobs.admission.admission import admit
from mwalimu.jobs.http.access import GuardedRoute, require_owner_of
from mwalimu.jobs.http.asked import Limit, NamePath
from mwalimu.jobs.http.documented import created, good, nothing
from mwalimu.jobs.http.service import Here, Service, Who
from mwalimu.jobs.http.threads import at_length
from mwalimu.jobs.http.told import JobsTold, JobTold, job_told, tell
from mwalimu.jobs.paging import PAGE
from mwalimu.jobs.records import Job, Kind
from mwalimu.jobs.states import State
from mwalimu.jobs.submission import Name, Submission

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/jobs", status_code=201, responses=created(JobTold))
def submit(
    asked: Submission,
    here: Here,
    who: Who,
    request: Request,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Queued as soon as this answers; sent again with the same key, it is the same job."""
    spec = admit(asked, here.shelf())
    job = here.store.submit(spec, owner=who.name, name=asked.name, key=idempotency_key)
    request.scope["touched"] = job.name
    return tell(_told(here, job), 201)


@router.post("/v1/jobs/estimate", responses=good(dict[str, Any]))
async def estimate(asked: Submission, here: Here, request: Request) -> Response:
    """What the job would take. Spends nothing."""
    return await at_length(request, _estimated, asked, here)


def _estimated(asked: Submission, here: Service) -> Response:
    from mwalimu.api import estimate as estimate_job

    spec = admit(asked, here.shelf())
    config = build_config(spec.config, base=here.workspace.nowhere)
    return tell(estimate_job(config, store=here.workspace.answers).to_json())


@router.get("/v1/jobs", responses=good(JobsTold))
def jobs(
    here: Here,
    state: State | None = None,
    owner: Annotated[Name | None, Query()] = None,
    kind: Kind | None = None,
    limit: Limit = PAGE,
    before: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
) -> Response:
    """The newest first; `next` is the `before` of the next page."""
    found = here.store.jobs(state=state, owner=owner, kind=kind, limit=limit + 1, before=before)
    page = found[:limit]
    rest = page[-1].created if len(found) > limit else None
    return tell(JobsTold(jobs=[_told(here, job) for job in page], next=rest))


@router.get("/v1/jobs/{job}", responses=good(JobTold))
def show(job: NamePath, here: Here) -> Response:
    """One job."""
    return tell(_told(here, here.store.get(job)))


@router.delete("/v1/jobs/{job}", status_code=204, responses=nothing())
def delete(job: NamePath, here: Here, who: Who) -> Response:
    """Its files go too, but not what it registered."""
    require_owner_of(who, here.store.get(job))
    here.store.delete(job, remove=here.workspace.remove_job)
    return Response(status_code=204)


@router.post("/v1/jobs/{job}/cancel", responses=good(JobTold))
def cancel(job: NamePath, here: Here, who: Who) -> Response:
    """At once if no worker has it; else as soon as its worker hears of it."""
    require_owner_of(who, here.store.get(job))
    return tell(_told(here, here.store.cancel(job)))


@router.post("/v1/jobs/{job}/pause", responses=good(JobTold))
def pause(job: NamePath, here: Here, who: Who) -> Response:
    """It goes on with `resume`."""
    require_owner_of(who, here.store.get(job))
    return tell(_told(here, here.store.pause(job)))


@router.post("/v1/jobs/{job}/resume", responses=good(JobTold))
def resume(job: NamePath, here: Here, who: Who) -> Response:
    """It goes on where it was."""
    require_owner_of(who, here.store.get(job))
    return tell(_told(here, here.store.resume(job)))


@router.get("/v1/jobs/{job}/config", responses=good(dict[str, Any]))
def config(job: NamePath, here: Here) -> Response:
    """The config with every default written out, keys left out."""
    return tell(here.config_of(here.store.get(job)))


def _told(here: Service, job: Job) -> JobTold:
    return job_told(job, here.url)
