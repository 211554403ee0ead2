"""The workspace's jobs and models behind the names of the local client."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mwalimu.azure.cloud.command_job import again, command_job
from mwalimu.azure.cloud.compute import RUN_FOLDER, new_name
from mwalimu.azure.cloud.models import CloudModels
from mwalimu.azure.cloud.native import connection_of, native_job
from mwalimu.azure.cloud.offered import student_of, teaches
from mwalimu.azure.cloud.reading import job_of, work_of
from mwalimu.azure.cloud.request import request_of
from mwalimu.azure.cloud.sdk import boundary, each, fetch, open_client
from mwalimu.azure.cloud.settings import CloudSettings
from mwalimu.azure.cloud.support import require_accepted
from mwalimu.azure.constants import DataGenerationType
from mwalimu.azure.entities import DistillationJob, Job
from mwalimu.azure.mapping import model_name
from mwalimu.errors import ConfigError
from mwalimu.jobs.workspace import checked_name


class CloudClient:
    """`workspace` is the name in config.json; nothing is asked of Azure before the first call."""

    def __init__(self, client: Any, settings: CloudSettings) -> None:
        self.workspace: str = client.workspace_name
        self.jobs = CloudJobs(client, settings)
        self.models = CloudModels(client, settings)


def open_cloud(
    *, path: str | Path | None = None, credential: Any | None = None, **settings: Any
) -> CloudClient:
    """The workspace of config.json, which is looked for at `path`, or here and upwards.

    `settings` are those of CloudSettings.

    Raises:
        ConfigError: no config.json, or a setting that is unknown.
        MissingDependency: the extra `azure` is not installed.
    """
    try:
        chosen = CloudSettings(**settings)
    except TypeError as error:
        raise ConfigError(str(error).rpartition("() ")[2], where="MLClient") from None
    return CloudClient(open_client(credential, path=path), chosen)


def is_native(job: DistillationJob) -> bool:
    """Whether Azure's own distillation is what it asks for: an endpoint of the workspace, a pair
    that Azure takes as far as it is named, and labels for prompts that are there.
    """
    return (
        job.teacher_model_endpoint_connection is not None
        and (job.teacher_model is None or teaches(job.teacher_model))
        and student_of(model_name(job.student_model, "student_model")) is not None
        and str(job.data_generation_type).casefold() == DataGenerationType.LABEL_GENERATION
    )


class CloudJobs:
    """Azure's errors are told as ours: CloudError, or ConfigError before anything is sent."""

    def __init__(self, client: Any, settings: CloudSettings) -> None:
        self._client = client
        self._settings = settings
        self._region: str | None = None

    def create_or_update(self, job: DistillationJob) -> DistillationJob:
        """Submits it: as Azure's own distillation where it takes the pair, else as a command job.
        Returns it with its name and status.

        Raises:
            ConfigError: all that Azure would refuse, or what a compute could not do.
        """
        return job.as_told(self._native(job) if is_native(job) else self._command(job))

    def get(self, name: str) -> Job:
        with boundary(f"job {name}"):
            return job_of(self._client.jobs.get(name))

    def list(self) -> Iterator[Job]:
        """The newest first, as Azure gives them; jobs of other kinds are among them."""
        where = "the list of jobs"
        with boundary(where):
            found = self._client.jobs.list()
        for job in each(found, where):
            if job is not None:  # of a kind that the SDK cannot read
                yield job_of(job)

    def stream(self, name: str) -> None:
        """Shows the log until the job has ended. Raises CloudError if it has failed."""
        with boundary(f"job {name}"):
            self._client.jobs.stream(name)

    def cancel(self, name: str) -> Job:
        """Asks for it and does not wait; a job that has ended stays as it is."""
        with boundary(f"job {name}"):
            self._client.jobs.begin_cancel(name)
        return self.get(name)

    begin_cancel = cancel

    def resume(self, name: str) -> Job:
        """A new job that goes on in the run folder of a command job that has ended.

        Raises:
            ConfigError: it is Azure's own distillation, which keeps nothing to go on from.
        """
        with boundary(f"job {name}"):
            before = self._client.jobs.get(name)
            work_of(before, f"job {name}")
            return job_of(self._client.jobs.create_or_update(again(before, new_name())))

    def download(self, name: str, *, download_path: str | Path = ".") -> Path:
        """The run folder of a command job, as it is now, into a folder of the job's name in
        `download_path`; returns that folder.

        Raises:
            ConfigError: the job is none of ours, and has no run folder.
        """
        folder = Path(download_path, checked_name(name))
        with boundary(f"job {name}"):
            work = work_of(self._client.jobs.get(name), f"job {name}")
            fetch(self._client, f"{work}{RUN_FOLDER}/", folder)
        return folder

    def _native(self, job: DistillationJob) -> Job:
        request = request_of(job)
        require_accepted(request, region=self._workspace_region())
        sent, connection = native_job(request), connection_of(request.teacher)
        hidden = (request.teacher.key,) if request.teacher.key else ()
        if connection is not None:
            with boundary(f"connection {request.teacher.name}", secrets=hidden):
                self._client.connections.create_or_update(connection)
        with boundary(f"job {request.name or request.experiment_name}", secrets=hidden):
            return job_of(self._client.jobs.create_or_update(sent))

    def _command(self, job: DistillationJob) -> Job:
        name = job.name or new_name()
        with tempfile.TemporaryDirectory(prefix="mwalimu-") as scratch:
            sent = command_job(job, name, self._settings, Path(scratch))
            with boundary(f"job {name}"):
                return job_of(self._client.jobs.create_or_update(sent))

    def _workspace_region(self) -> str:
        if self._region is None:
            with boundary("the workspace"):
                self._region = self._client.workspaces.get(self._client.workspace_name).location
        return self._region
