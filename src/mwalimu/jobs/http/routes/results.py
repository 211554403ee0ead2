"""What a job does and has done: its stages, curves, rows, money, answers, scores and files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from mwalimu.data.record import Json
from mwalimu.jobs.http.access import GuardedRoute
from mwalimu.jobs.http.asked import After, Limit, NamePath
from mwalimu.jobs.http.documented import good, text
from mwalimu.jobs.http.problems import refused
from mwalimu.jobs.http.service import Here, Service
from mwalimu.jobs.http.told import tell
from mwalimu.jobs.paging import SAMPLES
from mwalimu.jobs.results import Results, comparison, prompts_of

router = APIRouter(route_class=GuardedRoute)


class MetricsTold(TypedDict):
    lines: list[Json]
    next: int


class PartTold(TypedDict):
    label: str
    done: int | None
    total: int | None
    note: str


class StageTold(TypedDict):
    stage: str
    state: str
    done: int | None
    total: int | None
    note: str
    parts: list[PartTold]
    summary: Json


class ProgressTold(TypedDict):
    stages: list[StageTold]


class FunnelTold(TypedDict):
    steps: list[Json]


class SpendTold(TypedDict):
    usd: float | None
    budget_usd: float | None
    requests: int | None
    tokens: int | None


class SampleTold(TypedDict):
    id: str
    prompt: str
    reference: str | None
    answers: dict[str, str]


class SamplesTold(TypedDict):
    samples: list[SampleTold]


class FileTold(TypedDict):
    path: str
    size: int
    sha256: str


class FilesTold(TypedDict):
    files: list[FileTold]


class ComparisonTold(TypedDict):
    jobs: list[str]
    scores: dict[str, Json]
    settings: list[Json]
    test: Json


@router.get("/v1/jobs/{job}/metrics", responses=good(MetricsTold))
def metrics(job: NamePath, here: Here, after: After = 0) -> Response:
    """The lines of metrics.jsonl from line `after`."""
    lines, following = _results(here, job).metrics(after)
    return tell(MetricsTold(lines=lines, next=following))


@router.get("/v1/jobs/{job}/progress", responses=good(ProgressTold))
def progress(job: NamePath, here: Here) -> Response:
    """Its stages in order, each done, running or waiting."""
    stages = _results(here, job).progress(here.store.newest(job, "progress"))
    return tell({"stages": stages})


@router.get("/v1/jobs/{job}/funnel", responses=good(FunnelTold))
def funnel(job: NamePath, here: Here) -> Response:
    """From the prompts to the rows that were learned."""
    return tell(FunnelTold(steps=_results(here, job).funnel()))


@router.get("/v1/jobs/{job}/spend", responses=good(SpendTold))
def spend(job: NamePath, here: Here) -> Response:
    """What the teacher's answers cost; null where unknown."""
    return tell(_results(here, job).spend(here.store.newest(job, "spent")))


@router.get("/v1/jobs/{job}/samples", responses=good(SamplesTold))
def samples(job: NamePath, here: Here, limit: Limit = SAMPLES) -> Response:
    """Test rows with every arm's answer, the first ones."""
    found = _results(here, job)
    spec = found.job.spec
    test = spec.config.get("test") or (spec.config.get("data") or {}).get("test")
    task = spec.config.get("task") or "generic"
    prompts = {} if test is None else prompts_of(here.workspace.root / test, task, limit)
    return tell({"samples": found.samples(limit, prompts)})


@router.get("/v1/jobs/{job}/scores", responses=good(dict[str, Any]))
def scores(job: NamePath, here: Here) -> Response:
    """The evaluation's summary, {} before it."""
    return tell(_results(here, job).scores())


@router.get("/v1/jobs/{job}/artefacts", responses=good(FilesTold))
def artefacts(job: NamePath, here: Here) -> Response:
    """What the run's manifest lists."""
    return tell({"files": _results(here, job).artefacts()})


@router.get("/v1/jobs/{job}/artefacts/{path:path}", responses=text("application/octet-stream"))
def artefact(job: NamePath, path: Annotated[str, Path(max_length=500)], here: Here) -> Response:
    """One of these files."""
    found = _results(here, job).artefact(path)
    return FileResponse(
        found,
        media_type="application/octet-stream",
        filename=found.name,
        content_disposition_type="attachment",
    )


@router.get("/v1/compare", responses=good(ComparisonTold))
def compare(here: Here, jobs: Annotated[str, Query(max_length=600)]) -> Response:
    """Two jobs: scores, settings that differ, and the paired test between the two students."""
    names = jobs.split(",")
    if len(names) != 2 or names[0] == names[1]:
        raise refused(400, "names two different jobs", where="jobs", fix="write jobs=a,b")
    sides = [_results(here, name) for name in names]
    if any(side.job.spec.kind != "distillation" for side in sides):
        raise refused(400, "are not both distillations", where="jobs", fix="name two that are")
    return tell(comparison(sides, [here.config_of(side.job) for side in sides]))


def _results(here: Service, job: str) -> Results:
    return Results(here.store.get(job), here.workspace.run(job))
