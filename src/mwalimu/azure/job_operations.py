"""`ml_client.jobs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mwalimu.azure import told
from mwalimu.azure.entities import DistillationJob, Job
from mwalimu.azure.mapping import submission_of
from mwalimu.jobs.client import Client
from mwalimu.jobs.client.streams import inside
from mwalimu.jobs.client.told import JobInfo
from mwalimu.jobs.client.watching import plain, require_completed, watch
from mwalimu.jobs.records import Kind
from mwalimu.progress import live_progress


class JobOperations:
    """Every method raises the errors of `mwalimu.jobs.client.problems`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create_or_update(self, job: DistillationJob) -> DistillationJob:
        """Submits it, its local files with it; returns it with its name and status.

        Raises:
            ConfigError: a field that the service cannot take, or a file that is not there.
            WrongState: there is a job of that name.
        """
        made = self._client.submit_with_files(submission_of(job), base=Path.cwd())
        return job.as_told(told.job_of(made))

    def get(self, name: str) -> Job:
        return told.job_of(self._client.job(name))

    def list(self) -> Iterator[Job]:
        """The newest first."""
        yield from map(told.job_of, every_job(self._client))

    def stream(self, name: str) -> None:
        """Shows its log and how far it is until it has ended. Raises the error it failed with."""
        with live_progress() as progress:
            ended = watch(self._client, name, progress=progress, line=_show)
        require_completed(ended)

    def cancel(self, name: str) -> Job:
        """Asks for it and does not wait."""
        return told.job_of(self._client.cancel(name))

    begin_cancel = cancel

    def pause(self, name: str) -> Job:
        return told.job_of(self._client.pause(name))

    def resume(self, name: str) -> Job:
        """Goes on where it was."""
        return told.job_of(self._client.resume(name))

    def delete(self, name: str) -> None:
        """With its files, but not what it registered."""
        self._client.delete(name)

    def download(self, name: str, *, download_path: str | Path = ".") -> Path:
        """The files of its run into a folder of its name in `download_path`; returns that."""
        folder = Path(download_path) / name
        for file in self._client.artefacts(name):
            self._client.download(name, file.path, inside(folder, file.path))
        return folder


def every_job(client: Client, *, kind: Kind | None = None) -> Iterator[JobInfo]:
    """The newest first, page by page."""
    before: float | str | None = None
    while True:
        page = client.jobs(kind=kind, before=before)
        yield from page.jobs
        if (before := page.next) is None:
            return


def _show(line: str) -> None:
    print(plain(line), file=sys.stdout, flush=True)
