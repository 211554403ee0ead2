"""`ml_client.models`: what jobs have registered, and how well it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mwalimu.azure import told
from mwalimu.azure.entities import Input, Model
from mwalimu.azure.job_operations import every_job
from mwalimu.data.record import Json
from mwalimu.jobs.client import Client
from mwalimu.jobs.client.plans import reference
from mwalimu.jobs.client.told import JobInfo, ModelInfo
from mwalimu.jobs.client.watching import require_completed, watch
from mwalimu.jobs.refusals import NotFound
from mwalimu.jobs.states import ENDED
from mwalimu.progress import live_progress


class ModelOperations:
    """Every method raises the errors of `mwalimu.jobs.client.problems`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, name: str, version: str | int | None = None) -> Model:
        """The newest without `version`."""
        return told.model_of(self._model(name, version))

    def list(self, name: str | None = None) -> Iterator[Model]:
        """All models, or all versions of one."""
        for model in self._client.models():
            if name in (None, model.name):
                yield told.model_of(model)

    def download(
        self, name: str, version: str | int | None = None, *, download_path: str | Path = "."
    ) -> Path:
        """Into a new folder of the model's name in `download_path`; returns that folder."""
        chosen = None if version is None else int(version)
        return self._client.download_model(name, Path(download_path) / name, version=chosen)

    def evaluate(
        self,
        model_name: str,
        test_data: str | Input,
        metrics: Sequence[str] | None = None,
        *,
        version: str | int | None = None,
    ) -> Json:
        """Asks the model the rows of `test_data`; returns the metrics by name, all of them unless
        some are named. Waits, first for the job that makes the model if that still runs.

        `accuracy` is in 0..1, `bleu_score` in 0..100, `inference_time` in seconds of one answer.

        Raises:
            ConfigError: no such file, rows that are not valid, or an unknown metric.
            NotFound: nothing has registered such a model, and no job is about to.
            MwalimuError: what the job that was to make it, or the evaluation, has failed with.
        """
        maker = self._maker(model_name) if version is None else None
        if maker is not None and maker.state not in ENDED:
            require_completed(self._watched(maker))
        model = self._made(model_name, version, maker)
        job = self._client.evaluate(
            model.name,
            self._dataset(test_data, str(model.properties.get("task") or "generic")),
            metrics=metrics or (),
            version=model.version,
        )
        return require_completed(self._watched(job)).summary

    def _model(self, name: str, version: str | int | None) -> ModelInfo:
        return self._client.model(name, version=None if version is None else int(version))

    def _maker(self, name: str) -> JobInfo | None:
        """The newest job that registers it."""
        jobs = every_job(self._client, kind="distillation")
        return next((job for job in jobs if name in job.registers), None)

    def _made(self, name: str, version: str | int | None, maker: JobInfo | None) -> ModelInfo:
        """What its maker has failed with says more than that there is no such model."""
        try:
            return self._model(name, version)
        except NotFound:
            if maker is not None:
                require_completed(maker)
            raise

    def _watched(self, job: JobInfo) -> JobInfo:
        with live_progress() as progress:
            return watch(self._client, job.name, progress=progress)

    def _dataset(self, data: str | Input, task: str) -> str:
        text = data if isinstance(data, str) else data.path
        if text.startswith("dataset:"):
            return text.removeprefix("dataset:")
        uploaded = self._client.upload_file(Path(text), task=task)
        return reference(uploaded).removeprefix("dataset:")
