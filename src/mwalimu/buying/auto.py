"""A whole job: in rounds where the config or `--auto` asks for them, then every other stage."""

from __future__ import annotations

from typing import Any

from mwalimu.buying.rounds import buy
from mwalimu.config import ActiveConfig, Config
from mwalimu.errors import ConfigError
from mwalimu.estimate import estimate
from mwalimu.pipeline import Pipeline


def execute(pipeline: Pipeline, *, auto: bool = False) -> tuple[Pipeline, dict[str, Any]]:
    """All stages that are not done yet; returns the pipeline on what was learned, and the scores.

    Raises:
        ConfigError: `auto` needs a cap for teachers that are paid, and validation rows.
    """
    if auto:
        pipeline = _automatic(pipeline)
    if pipeline.asked.active is not None:
        pipeline = buy(pipeline)
    return pipeline, pipeline.execute()


def _automatic(pipeline: Pipeline) -> Pipeline:
    """The same job in rounds, after its estimate has been told: of all prompts, so at most."""
    config = in_rounds(pipeline.asked)
    for line in estimate(config, store=pipeline.store, folder=pipeline.run.root).lines():
        pipeline.progress("estimate, if all is bought", 0, 0, line)
    return Pipeline(config, pipeline.run.root, store=pipeline.store, progress=pipeline.progress)


def in_rounds(config: Config) -> Config:
    """With a section active, its defaults where there is none.

    Raises:
        ConfigError: nothing caps what a served teacher may cost, or there are no validation rows.
    """
    capped = any(cap is not None for cap in config.budget.model_dump().values())
    if not capped and any(teacher.remote for teacher in config.teachers()):
        fix = "name a cap: --set budget.usd=20"
        raise ConfigError(
            "has no cap, and the teacher is not on this machine", where="budget", fix=fix
        )
    if config.active is not None:
        return config
    if config.data.validation is None:
        fix = "name a file of prompts that are not among those of data.train"
        raise ConfigError(
            "is not set, and shows what a round brings", where="data.validation", fix=fix
        )
    return config.model_copy(update={"active": ActiveConfig()})
