"""What the routes work with: the stores of one workspace, and how its owner set it up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from mwalimu.data.record import Json
from mwalimu.jobs.admission.admission import Shelf
from mwalimu.jobs.admission.references import told_config, told_properties
from mwalimu.jobs.http.limits import LIMITS, Limits
from mwalimu.jobs.http.told import ModelTold, model_told
from mwalimu.jobs.playground.playing import Playground
from mwalimu.jobs.records import Job, Owner, RegisteredModel
from mwalimu.jobs.settings import DEFAULTS, ServiceSettings
from mwalimu.jobs.store.audit import AuditLog
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.store.tokens import TokenStore
from mwalimu.jobs.workspace import Workspace

DEFAULT_URL = "http://127.0.0.1:8600"


@dataclass(frozen=True, slots=True)
class Service:
    """`url` is where the dashboard is, without a slash at its end."""

    workspace: Workspace
    store: JobStore
    tokens: TokenStore
    datasets: DatasetStore
    models: ModelStore
    audit: AuditLog
    playground: Playground
    url: str
    settings: ServiceSettings
    limits: Limits

    def shelf(self) -> Shelf:
        return Shelf(
            self.workspace,
            self.datasets.get,
            self.models.get,
            urls=self.settings.allowed_teachers,
            webhook_hosts=self.settings.webhook_hosts,
            resources=tuple(self.settings.slots),
        )

    def config_of(self, job: Job) -> Json:
        return told_config(job.spec, self.workspace, self.datasets, self.models)

    def models_told(self, models: Iterable[RegisteredModel]) -> list[ModelTold]:
        known = self.models.all()
        return [model_told(one, told_properties(one, self.workspace, known)) for one in models]


def open_service(
    workspace: Workspace,
    store: JobStore,
    *,
    url: str = DEFAULT_URL,
    settings: ServiceSettings = DEFAULTS,
    limits: Limits = LIMITS,
) -> Service:
    """With the other stores over the database of `store`."""
    database, clock = store.database, store.clock
    return Service(
        workspace,
        store,
        TokenStore(database, clock=clock),
        DatasetStore(database, clock=clock, quotas=store.quotas),
        ModelStore(database, clock=clock),
        AuditLog(database, clock=clock),
        Playground(workspace),
        url,
        settings,
        limits,
    )


async def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


async def _who(request: Request) -> Owner:
    return cast(Owner, request.scope["owner"])


Here = Annotated[Service, Depends(_service)]
Who = Annotated[Owner, Depends(_who)]
