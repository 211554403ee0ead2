"""What Azure tells of jobs and models, as our records."""

from __future__ import annotations

from typing import Any

from mwalimu.azure.entities import Job, Model
from mwalimu.errors import ConfigError

_PRIVATE = "azureml.connection_information"
"""Of jobs that others submitted with the SDK it may hold their key."""


def job_of(job: Any) -> Job:
    """`status` is Azure's own word; `mwalimu.azure.cloud.states` has ours for it."""
    properties = {k: str(v) for k, v in (job.properties or {}).items() if k != _PRIVATE}
    return Job(
        name=job.name,
        display_name=job.display_name,
        description=job.description,
        experiment_name=job.experiment_name,
        tags=dict(job.tags or {}),
        properties=properties,
        type=str(job.type),
        status=_word(job.status),
        studio_url=job.studio_url,
    )


def model_of(model: Any) -> Model:
    """`created` is in seconds since 1970."""
    made = model.creation_context.created_at if model.creation_context else None
    return Model(
        name=model.name,
        version=str(model.version),
        job_name=getattr(model, "job_name", None),
        created=made.timestamp() if made else None,
        properties={**(model.tags or {}), **(model.properties or {})},
        type=str(model.type),
    )


def work_of(job: Any | None, where: str) -> str:
    """The address of the folder that a command job of ours works in, with a slash at its end.

    Raises:
        ConfigError: there is no such job, or it is none of ours.
    """
    output = (getattr(job, "outputs", None) or {}).get("work")
    if output is None or not output.path:
        raise ConfigError(
            "has no run folder: no command job of mwalimu has made it",
            where=where,
            fix="'mwalimu run' keeps one, on this machine or in a command job",
        )
    return f"{output.path.rstrip('/')}/"


def _word(status: Any) -> str | None:
    """Of an enumeration its value."""
    return None if status is None else str(getattr(status, "value", status))
