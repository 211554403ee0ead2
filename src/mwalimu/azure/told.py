"""What the service tells, as the SDK's records."""

from __future__ import annotations

import json

from mwalimu.azure.entities import Job, Model
from mwalimu.jobs.client.problems import of_job
from mwalimu.jobs.client.told import JobInfo, ModelInfo
from mwalimu.jobs.states import azure_name

REGISTERED = "registered_ft_model_name"


def job_of(told: JobInfo) -> Job:
    return Job(
        name=told.name,
        display_name=told.display_name or told.name,
        experiment_name=told.experiment_name or None,
        tags=dict(told.tags),
        properties=_properties(told),
        type=told.kind,
        status=azure_name(told.state),
        studio_url=told.studio_url,
        error=str(of_job(told.error, told.name)) if told.error else None,
    )


def model_of(told: ModelInfo) -> Model:
    return Model(
        name=told.name,
        version=str(told.version),
        job_name=told.job,
        created=told.created,
        properties=dict(told.properties),
    )


def _properties(told: JobInfo) -> dict[str, str]:
    """Texts, as Azure's are: what was registered, and the numbers of the summary."""
    registered = {REGISTERED: told.registers[0]} if told.registers else {}
    numbers = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in told.summary.items()
    }
    return {**numbers, **registered}
