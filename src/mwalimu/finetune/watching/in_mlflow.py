"""A run of MLflow: on the server of $MLFLOW_TRACKING_URI, else in `mlflow.db` beside the metrics.

Its experiment is $MLFLOW_EXPERIMENT_NAME, else mwalimu; a resume finds its run by a tag.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric

TAG = "mwalimu.job"


class InMLflow:
    def __init__(self, folder: Path, job: str) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve()}/mlflow.db")
        self._client = MlflowClient(uri)
        self._run = self._find_run(job) or self._make_run(job, folder)

    def last(self, kind: str) -> int:
        seen = self._client.get_metric_history(self._run, f"{kind}/loss")
        return max((point.step for point in seen), default=-1)

    def show(self, kind: str, step: int, values: dict[str, float]) -> None:
        now = int(time.time() * 1000)
        points = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=points)

    def close(self) -> None:
        self._client.set_terminated(self._run)

    @property
    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "mwalimu")
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _find_run(self, job: str) -> str | None:
        found = self._client.search_runs([self._experiment], f"tags.`{TAG}` = '{job}'")
        return str(found[0].info.run_id) if found else None

    def _make_run(self, job: str, folder: Path) -> str:
        made = self._client.create_run(self._experiment, tags={TAG: job}, run_name=folder.name)
        return str(made.info.run_id)
