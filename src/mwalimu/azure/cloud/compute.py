"""A command of ours on Azure's compute: image, machine, identity, folders."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwalimu.azure.cloud.sdk import boundary, sdk
from mwalimu.azure.cloud.settings import CloudSettings
from mwalimu.jobs.workspace import checked_name

RUN_FOLDER = "run"
"""In the folder that a job works in."""
DOCKERFILE = "Dockerfile"


def on_compute(
    settings: CloudSettings,
    scratch: Path,
    *,
    name: str,
    command: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    tags: Mapping[str, str],
    **described: str | None,
) -> Any:
    """`azure.ai.ml.command(...)`. Sends nothing; what is to be sent with it is put into `scratch`.

    `described`: display_name, description, experiment_name.

    Raises:
        ConfigError: the settings are not complete, or the SDK refuses a value.
    """
    settings.require_complete()
    ml = sdk()
    resources = ml.entities.JobResourceConfiguration
    with boundary(f"job {name}"):
        return ml.command(
            name=checked_name(name),
            command=command,
            inputs=dict(inputs),
            outputs=dict(outputs),
            tags=dict(tags),
            environment=_environment(ml, settings, scratch),
            environment_variables={"PYTHONUNBUFFERED": "1"},
            compute=settings.compute,
            resources=settings.instance_type
            and resources(instance_type=settings.instance_type, instance_count=1),
            identity=ml.entities.ManagedIdentityConfiguration() if settings.keys else None,
            **described,
        )


def new_name() -> str:
    """Of a job that nobody named."""
    return f"mwalimu-{secrets.token_hex(5)}"


def work_address(settings: CloudSettings, name: str) -> str:
    """The folder that a job works in: its run folder, and the answers that were paid for."""
    return f"azureml://datastores/{settings.datastore}/paths/mwalimu/{checked_name(name)}/"


def given(path: str, kind: str = "uri_folder") -> Any:
    """What a job reads."""
    with boundary(path):
        return sdk().Input(type=kind, path=path, mode="ro_mount")


def worked_in(path: str) -> Any:
    """The folder at an address, which outlives the job."""
    with boundary(path):
        return sdk().Output(type="uri_folder", mode="rw_mount", path=path)


def registered(name: str) -> Any:
    """A folder that becomes the next version of the model `name`."""
    with boundary(f"model {name}"):
        return sdk().Output(type="custom_model", mode="rw_mount", name=name)


def _environment(ml: Any, settings: CloudSettings, scratch: Path) -> Any:
    if settings.environment:
        return settings.environment
    entity = ml.entities.Environment
    if settings.wheel is None:
        return entity(image=settings.image, conda_file=_conda(settings.package))
    context = scratch / "environment"
    context.mkdir()
    shutil.copy2(settings.wheel, context)
    (context / DOCKERFILE).write_text(_dockerfile(settings.image, settings.wheel.name))
    return entity(build=ml.entities.BuildContext(path=str(context), dockerfile_path=DOCKERFILE))


def _conda(package: str) -> dict[str, Any]:
    packages: list[Any] = ["python=3.12", "pip", {"pip": [package]}]
    return {"name": "mwalimu", "channels": ["conda-forge"], "dependencies": packages}


def _dockerfile(image: str, wheel: str) -> str:
    return (
        f"FROM {image}\n"
        f"COPY {wheel} /wheels/\n"
        f"RUN python -m pip install --no-cache-dir '/wheels/{wheel}[azure,eval]'\n"
    )
