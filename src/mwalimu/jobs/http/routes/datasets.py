"""Datasets: uploaded, checked, listed, deleted."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from typing_extensions import TypedDict

from mwalimu.config import Task
from mwalimu.jobs.http.access import GuardedRoute, require_owner
from mwalimu.jobs.http.asked import MAX_NUMBER, NamePath
from mwalimu.jobs.http.documented import created, good, nothing, rows_of_text
from mwalimu.jobs.http.service import Here, Who
from mwalimu.jobs.http.threads import at_length
from mwalimu.jobs.http.told import DatasetsTold, DatasetTold, dataset_told, tell
from mwalimu.jobs.http.uploading import checked, received

router = APIRouter(route_class=GuardedRoute)


class Checked(TypedDict):
    rows: int
    size: int
    sha256: str


@router.get("/v1/datasets", responses=good(DatasetsTold))
def datasets(here: Here) -> Response:
    """By name, the newest version first."""
    return tell(DatasetsTold(datasets=[dataset_told(one) for one in here.datasets.all()]))


@router.get("/v1/datasets/{dataset}", responses=good(DatasetTold))
def show(
    dataset: NamePath,
    here: Here,
    version: Annotated[int | None, Query(ge=1, le=MAX_NUMBER)] = None,
) -> Response:
    """One, the newest without `version`."""
    return tell(dataset_told(here.datasets.get(dataset, version)))


@router.put(
    "/v1/datasets/{dataset}",
    status_code=201,
    responses=created(DatasetTold),
    openapi_extra=rows_of_text(),
)
async def upload(
    dataset: NamePath, request: Request, here: Here, who: Who, task: Task = "generic"
) -> Response:
    """The body is the file, JSONL; it counts once every row was found good."""
    async with received(request, here.workspace, max_line=here.limits.max_line) as file:
        rows = await at_length(request, checked, file, task, where=dataset)
        target = here.workspace.dataset(file.sha256)
        add = partial(
            here.datasets.add,
            dataset,
            sha256=file.sha256,
            rows=rows,
            size=file.size,
            task=task,
            file=str(target.relative_to(here.workspace.root)),
            owner=who.name,
            place=partial(file.place, target),
        )
        return tell(dataset_told(await asyncio.to_thread(add)), 201)


@router.post("/v1/datasets/validate", responses=good(Checked), openapi_extra=rows_of_text())
async def validate(request: Request, here: Here, task: Task = "generic") -> Response:
    """The same check; nothing is kept."""
    async with received(request, here.workspace, max_line=here.limits.max_line) as file:
        rows = await at_length(request, checked, file, task, where="the file")
        return tell(Checked(rows=rows, size=file.size, sha256=file.sha256))


@router.delete("/v1/datasets/{dataset}", status_code=204, responses=nothing())
def delete(dataset: NamePath, here: Here, who: Who) -> Response:
    """Every version of it; refused while a job that has not ended uses one."""
    require_owner(who, here.datasets.get(dataset).owner)
    here.datasets.delete(dataset, remove=here.workspace.remove)
    return Response(status_code=204)
