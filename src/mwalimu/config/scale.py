"""Where the teachers of a run work: in this process, or on the nodes of a Ray cluster."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mwalimu.config.section import Section


class ScaleConfig(Section):
    """Nothing of it changes a byte of the result, so no stage's fingerprint knows of it.

    With `ray`, `teacher.concurrency` counts for each worker.
    """

    engine: Literal["local", "ray"] = Field("local", description="this process, or a Ray cluster")
    address: str | None = Field(
        None,
        pattern=r"^(auto|[\w.-]+:\d+)$",
        description="of a running cluster: auto, or host:port; without it Ray is started here",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="for each teacher; if unset one a node, or one for every gpus_per_worker",
    )
    mirror: str | None = Field(
        None,
        pattern=r"^(s3|gs|abfs|abfss)://[^\s?#@]+$",
        description="an object store's folder that keeps a copy of the run and its answers",
    )
    cpus_per_worker: float = Field(1.0, ge=0, description="logical cores that Ray reserves")
    gpus_per_worker: float = Field(0.0, ge=0, description="for teachers of kind local and vllm")


def _spelt_out(value: Any) -> Any:
    return {"engine": value} if isinstance(value, str) else value


Scale = Annotated[ScaleConfig, BeforeValidator(_spelt_out)]
"""`scale: ray` is short for `scale: {engine: ray}`."""
