"""The whole of a search: stage 1 once, trials within the budget, a choice, its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mwalimu.config import Config, TuneConfig
from mwalimu.config.loading import config_error
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.files import sha256_file
from mwalimu.pipeline import Pipeline
from mwalimu.run import fingerprint, model_hashes
from mwalimu.synthesis.budget import Prices
from mwalimu.teachers.base import Usage
from mwalimu.tuning.budget import Budget, parse_budget
from mwalimu.tuning.conclusion import Conclusion, conclude
from mwalimu.tuning.launching import Launch, launch_of
from mwalimu.tuning.measuring import read_rows, write_rows
from mwalimu.tuning.search import Place, Search
from mwalimu.tuning.space import Space
from mwalimu.tuning.study import open_study, require_optuna
from mwalimu.tuning.telling import write_outcome
from mwalimu.tuning.usual import known_of

OF_ANOTHER_KIND = {"tune", "auto", "budget", "export", "scale"}
"""Sections that change no trial."""
OUTSIDE_THE_SEARCH = {"budget", "parallel"}
"""Settings under which a search goes on; any other begins a new one."""


def tune(
    pipeline: Pipeline,
    *,
    allow_spend: bool = False,
    look_at_test: bool = True,
    launch: Launch | None = None,
) -> Conclusion:
    """Searches in the run folder's `tuning/`, where an earlier search of the same job goes on.

    The teacher answers once, as the job itself asks; trials learn from that. `allow_spend` lets
    them ask a teacher that costs, each under the config's own budget. With `look_at_test` the
    choice and the recipe as written are measured on the test rows. `launch` says where trials run:
    without it as the section `scale` has it.

    Raises:
        ConfigError: the budget, the space or the cluster cannot be used, or there are no validation
            rows.
        RunError: another search is there, or no trial ended within the budget.
        MissingDependency: Optuna is not installed.
        MwalimuError: the recipe as it is written cannot be trained.
    """
    require_optuna()
    config = pipeline.asked
    budget = parse_budget(config.tune.budget)
    _require_sense(config, budget, allow_spend)
    launch = launch or launch_of(config)
    _stage_one(pipeline)
    rows, graded_by = _validation(pipeline)
    place = Place(
        pipeline.run.root.absolute(),
        pipeline.store.absolute(),
        pipeline.run.path("tuning", "validation.jsonl").absolute(),
    )
    write_rows(place.rows, rows)
    known = known_of(pipeline.run.learned()["train"])
    space = Space(config, pipeline.config.finetune.objective, known)
    search = Search(
        config=config,
        space=space,
        study=open_study(place.journal, config.tune, _fingerprint(config, place)),
        place=place,
        launch=launch,
        budget=budget,
        allow_spend=allow_spend,
        say=lambda text: pipeline.progress("tune", 0, 0, text),
    )
    search.run()
    test = _test(pipeline) if look_at_test else []
    found = conclude(search, test, pipeline.progress, graded_by=graded_by)
    write_outcome(pipeline.run.path("tuning"), config, found)
    return found


def with_settings(config: Config, **changes: Any) -> Config:
    """The same job with those of `changes` in its section `tune` that are not None.

    Raises ConfigError: one of them cannot be.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        tune = TuneConfig.model_validate(config.tune.model_dump(exclude_unset=True) | given)
    except ValidationError as error:
        raise config_error(error, "tune", TuneConfig) from None
    return config.model_copy(update={"tune": tune})


def _stage_one(pipeline: Pipeline) -> None:
    if pipeline.asked.prompts is not None:
        pipeline.synthesise()
    pipeline.generate()
    pipeline.curate()
    pipeline.signals()


def _require_sense(config: Config, budget: Budget, allow_spend: bool) -> None:
    """Before anything is paid for."""
    if config.data.validation is None:
        raise ConfigError(
            "is not set, and a search needs rows to choose by",
            where="data.validation",
            fix="name a file of rows that neither train nor test",
        )
    per_hour = config.evaluate.usd_per_hour
    if "cost" in config.tune.objectives and per_hour is None:
        raise ConfigError(
            "cost is not known without the price of a machine",
            where="tune.objectives",
            fix="set evaluate.usd_per_hour",
        )
    priced = allow_spend and all(
        Prices(teacher).nano_usd(Usage(1, 1)) is not None for teacher in config.teachers()
    )
    if budget.usd is not None and per_hour is None and not priced:
        raise ConfigError(
            "nothing here has a price that dollars could be counted by",
            where="tune.budget",
            fix="set evaluate.usd_per_hour, or cap hours or trials",
        )


def _validation(pipeline: Pipeline) -> tuple[list[Record], str]:
    """The rows that choose: with the user's gold answers, else with the teacher's own."""
    config = pipeline.asked
    assert config.data.validation is not None
    rows = load_records(config.data.validation, task=config.task, split="validation")
    if rows and all(row.reference is not None for row in rows):
        return rows, "their gold answers"
    published = read_rows(pipeline.run.path("generate", "validation.jsonl"))
    if not published:
        raise ConfigError("has no row that the teacher answered", where="data.validation")
    return published, "the teacher's answers, as they have no gold ones"


def _test(pipeline: Pipeline) -> list[Record]:
    return pipeline.inputs.held_out.get("test", [])[: pipeline.asked.evaluate.max_rows]


def _fingerprint(config: Config, place: Place) -> str:
    """Of all that a trial's outcome depends on, but for its own parameters."""
    tune = config.tune.model_dump(exclude=OUTSIDE_THE_SEARCH)
    files = [config.data.train, config.data.labelled]
    return fingerprint(
        {
            "config": config.model_dump(mode="json", exclude=OF_ANOTHER_KIND),
            "tune": tune,
            "rows": sha256_file(place.rows),
            "student": model_hashes(config.student.model),
            "students": [model_hashes(model) for model in config.tune.students],
            "data": [_hash(path) for path in files],
        }
    )


def _hash(path: Path | None) -> str:
    return sha256_file(path) if path is not None and path.is_file() else ""
