"""For every pair that Azure's own distillation does not take: `mwalimu run` on Azure's compute."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwalimu.azure.cloud.compute import (
    RUN_FOLDER,
    given,
    on_compute,
    registered,
    work_address,
    worked_in,
)
from mwalimu.azure.cloud.request import registered_as
from mwalimu.azure.cloud.sdk import boundary, sdk
from mwalimu.azure.cloud.settings import CloudSettings, require_keys
from mwalimu.azure.cloud.staging import CONFIG_FILE, stage
from mwalimu.azure.entities import DistillationJob
from mwalimu.azure.mapping import submission_of
from mwalimu.config import build_config

RUN_TAG, MODEL_TAG, TASK_TAG = "mwalimu.run", "mwalimu.registers", "mwalimu.task"


def command_job(job: DistillationJob, name: str, settings: CloudSettings, scratch: Path) -> Any:
    """The SDK's command job called `name`. Sends nothing; what it needs is put into `scratch`.

    Relative files are taken from the working folder.

    Raises:
        ConfigError: what the job or the settings lack, a missing file, or a secret that would go
            along.
    """
    settings.require_complete()
    config = build_config(submission_of(job)["config"], base=Path.cwd(), where="the job")
    require_keys(config, settings.keys)
    model = registered_as(job)
    outputs = {"work": worked_in(work_address(settings, name)), "student": registered(model)}
    folder = scratch / "job"
    folder.mkdir()
    stage(config, folder)
    return on_compute(
        settings,
        scratch,
        name=name,
        command=command_line(settings.keys),
        inputs={"job": given(str(folder))},
        outputs=outputs,
        tags={**job.tags, RUN_TAG: name, MODEL_TAG: model, TASK_TAG: config.task},
        display_name=job.display_name,
        description=job.description,
        experiment_name=job.experiment_name,
    )


def command_line(keys: Mapping[str, str]) -> str:
    """What the compute's shell runs. Nothing of a user's is in it but checked names: the config
    carries the rest. A student is registered only if the run has ended well, its gates included.
    """
    fetch = [f"{variable}={connection}" for variable, connection in keys.items()]
    head = ["python", "-m", "mwalimu.azure.cloud.with_keys", *fetch, "--"] if fetch else []
    config = f'"${{{{inputs.job}}}}/{CONFIG_FILE}"'
    steps = (
        'cd "${{outputs.work}}"',
        f"{shlex.join([*head, 'mwalimu', 'run'])} {config} --run {RUN_FOLDER}",
        f'cp -R {RUN_FOLDER}/finetune/student/. "${{{{outputs.student}}}}/"',
    )
    return " && ".join(steps)


def again(before: Any, name: str) -> Any:
    """The same work under a new name, in the run folder of the job `before`."""
    outputs = {
        "work": worked_in(before.outputs["work"].path),
        "student": registered(before.tags[MODEL_TAG]),
    }
    with boundary(f"job {name}"):
        return sdk().command(
            name=name,
            display_name=before.display_name,
            description=before.description,
            experiment_name=before.experiment_name,
            tags=dict(before.tags),
            command=before.command,
            environment=before.environment,
            environment_variables=before.environment_variables,
            inputs={"job": given(before.inputs["job"].path)},
            outputs=outputs,
            compute=before.compute,
            resources=before.resources,
            identity=before.identity,
        )
