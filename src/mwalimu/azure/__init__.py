"""Distillation in the words of Azure ML: the tutorial's sample and the SDK's own vocabulary.

from mwalimu.azure import MLClient
from mwalimu.azure.entities import DistillationJob
ml_client = MLClient.from_config()
job = ml_client.jobs.create_or_update(DistillationJob(...))
"""

from __future__ import annotations

from typing import Any

__all__ = ["MLClient", "load_job"]


def __getattr__(name: str) -> Any:
    if name == "MLClient":
        from mwalimu.azure.ml_client import MLClient

        return MLClient
    if name == "load_job":
        from mwalimu.azure.job_file import load_job

        return load_job
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
