"""Models: registered, listed, downloaded, evaluated, deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from mwalimu.jobs.admission.admission import admit_evaluation
from mwalimu.jobs.http.access import GuardedRoute, require_owner_of
from mwalimu.jobs.http.asked import MAX_NUMBER, NamePath, NewEvaluation, NewModel, VersionPath
from mwalimu.jobs.http.documented import created, good, nothing, text
from mwalimu.jobs.http.packing import packed
from mwalimu.jobs.http.service import Here, Who
from mwalimu.jobs.http.told import JobTold, ModelsTold, ModelTold, job_told, tell
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.states import State

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/models", responses=good(ModelsTold))
def models(here: Here) -> Response:
    """By name, the newest version first."""
    return tell(ModelsTold(models=here.models_told(here.models.all())))


@router.get("/v1/models/{model}", responses=good(ModelTold))
def show(
    model: NamePath,
    here: Here,
    version: Annotated[int | None, Query(ge=1, le=MAX_NUMBER)] = None,
) -> Response:
    """One, the newest without `version`."""
    (told,) = here.models_told([here.models.get(model, version)])
    return tell(told)


@router.post("/v1/models", status_code=201, responses=created(ModelTold))
def register(asked: NewModel, here: Here, who: Who, request: Request) -> Response:
    """The student of a finished job, under a name of its own."""
    from mwalimu.jobs.workers.registering import register_student

    job = require_owner_of(who, here.store.get(asked.job))
    if job.state is not State.COMPLETED or job.spec.kind != "distillation":
        raise WrongState(f"is {job.state}, of kind {job.spec.kind}", where=job.name)
    request.scope["touched"] = asked.name
    made = register_student(here.workspace, here.models, job.name, asked.name)
    (told,) = here.models_told([made])
    return tell(told, 201)


@router.delete("/v1/models/{model}/{version}", status_code=204, responses=nothing())
def delete(model: NamePath, version: VersionPath, here: Here) -> Response:
    """One version and its files; refused while a job that has not ended uses it."""
    here.models.delete(model, version, remove=here.workspace.remove)
    return Response(status_code=204)


@router.get("/v1/models/{model}/{version}/download", responses=text("application/x-tar"))
def download(model: NamePath, version: VersionPath, here: Here) -> Response:
    """A tar stream of its folder."""
    found = here.models.get(model, version)
    name = f"{found.name}-{found.version}"
    headers = {"content-disposition": f'attachment; filename="{name}.tar"'}
    pieces = packed(here.workspace.root / found.folder, name)
    return StreamingResponse(pieces, media_type="application/x-tar", headers=headers)


@router.post("/v1/models/{model}/evaluate", status_code=201, responses=created(JobTold))
def evaluate(
    model: NamePath, asked: NewEvaluation, here: Here, who: Who, request: Request
) -> Response:
    """A job of kind evaluation; its `summary` holds the metrics."""
    spec = admit_evaluation(
        model, asked.version, asked.dataset, asked.metrics, asked.resource, here.shelf()
    )
    job = here.store.submit(spec, owner=who.name, name=asked.name)
    request.scope["touched"] = job.name
    return tell(job_told(job, here.url), 201)
