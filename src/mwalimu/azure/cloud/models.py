"""The models of the workspace, and how well those do that a run of ours has made."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mwalimu.azure.cloud.command_job import MODEL_TAG, TASK_TAG
from mwalimu.azure.cloud.compute import RUN_FOLDER, new_name, work_address
from mwalimu.azure.cloud.evaluation_job import evaluation_job
from mwalimu.azure.cloud.reading import job_of, model_of, work_of
from mwalimu.azure.cloud.sdk import CloudError, boundary, each, fetch
from mwalimu.azure.cloud.settings import CloudSettings
from mwalimu.azure.cloud.states import COMPLETED, ENDED
from mwalimu.azure.entities import Input, Model
from mwalimu.data.record import Json
from mwalimu.jobs.workers.evaluation import METRICS, Found, checked_metrics
from mwalimu.jobs.workspace import checked_name

LOOKED_AT = 1000
"""Jobs, the newest first, among which the one that makes a model is looked for."""


class CloudModels:
    poll_s = 15.0
    """Between two looks at an evaluation that is waited for."""

    def __init__(self, client: Any, settings: CloudSettings) -> None:
        self._client = client
        self._settings = settings

    def get(self, name: str, version: str | int | None = None) -> Model:
        """The newest without `version`."""
        return model_of(self._get(name, version))

    def list(self, name: str | None = None) -> Iterator[Model]:
        """All models, or all versions of one."""
        where = "the list of models"
        with boundary(where):
            found = self._client.models.list(name=name)
        yield from map(model_of, each(found, where))

    def download(
        self, name: str, version: str | int | None = None, *, download_path: str | Path = "."
    ) -> Path:
        """Into a folder of the model's name in `download_path`; returns that folder."""
        chosen = self._get(checked_name(name), version)
        with boundary(f"model {name}"):
            self._client.models.download(name, str(chosen.version), str(download_path))
        return Path(download_path, name)

    def evaluate(
        self,
        model_name: str,
        test_data: str | Input | None = None,
        metrics: Sequence[str] | None = None,
        *,
        version: str | int | None = None,
        task: str | None = None,
    ) -> Json:
        """Metrics by name, all of them unless some are named. Without `test_data` they are those
        that the job which made the model has measured; else a job asks it the rows of that local
        file, and this waits for it. `task` is that of the model's job unless it is given. Waits
        first for the job that makes the model, if that still runs.

        `accuracy` is in 0..1, `bleu_score` in 0..100, `inference_time` in seconds of one answer.

        Raises:
            ConfigError: an unknown metric, no such file, or a model that no job of ours has made.
            CloudError: a job that was waited for has failed, or there is no such model.
        """
        wanted = checked_metrics(metrics)
        if version is None:
            self._await_maker(model_name)
        model = self._get(model_name, version)
        maker = self._maker(model)
        if test_data is None:
            work = work_of(maker, f"model {model_name}")
        else:
            file = Path(test_data.path if isinstance(test_data, Input) else test_data)
            known = (maker.tags or {}).get(TASK_TAG) if maker else None
            work = self._measured(model, file, task or known or "generic")
        found = self._found(f"{work}{RUN_FOLDER}/evaluate")
        return {name: METRICS[name](found) for name in wanted}

    def _maker(self, model: Any) -> Any | None:
        if not model.job_name:
            return None
        with boundary(f"job {model.job_name}"):
            return self._client.jobs.get(model.job_name)

    def _measured(self, model: Any, test: Path, task: str) -> str:
        """The folder that the evaluation has worked in."""
        name = new_name()
        with tempfile.TemporaryDirectory(prefix="mwalimu-") as scratch:
            sent = evaluation_job(
                model,
                test,
                task=task,
                name=name,
                settings=self._settings,
                scratch=Path(scratch),
            )
            with boundary(f"job {name}"):
                self._client.jobs.create_or_update(sent)
        self._await_completion(name)
        return work_address(self._settings, name)

    def _await_maker(self, model_name: str) -> None:
        """The newest command job that registers it, where there is one."""
        where = "the list of jobs"
        with boundary(where):
            found = self._client.jobs.list()
        for job in islice(each(found, where), LOOKED_AT):
            if job is not None and (job.tags or {}).get(MODEL_TAG) == model_name:
                if job_of(job).status not in ENDED:
                    self._await_completion(job.name)
                return

    def _await_completion(self, name: str) -> None:
        """Raises CloudError if the job ends in another way."""
        while True:
            with boundary(f"job {name}"):
                status = job_of(self._client.jobs.get(name)).status
            if status in ENDED:
                break
            time.sleep(self.poll_s)
        if status != COMPLETED:
            raise CloudError(f"is {status}", where=f"job {name}", fix="read its log")

    def _found(self, address: str) -> Found:
        with boundary(address), tempfile.TemporaryDirectory(prefix="mwalimu-") as scratch:
            scores = json.loads(self._fetched(f"{address}/scores.json", Path(scratch)))
            arm = scores["arms"][-1]
            rows = self._fetched(f"{address}/predictions/{arm['name']}.jsonl", Path(scratch))
        return Found(arm, [json.loads(line) for line in rows.splitlines()])

    def _get(self, name: str, version: str | int | None) -> Any:
        with boundary(f"model {name}"):
            if version is None:
                return self._client.models.get(name, label="latest")
            return self._client.models.get(name, version=str(version))

    def _fetched(self, address: str, scratch: Path) -> bytes:
        """One file of the workspace's storage."""
        fetch(self._client, address, scratch)
        file = scratch / address.rpartition("/")[2]
        if not file.is_file():
            raise CloudError("is not there", where=address, fix="the job has evaluated nothing")
        return file.read_bytes()
