"""A registered model asked test rows, as a command job."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

from mwalimu.azure.cloud.compute import RUN_FOLDER, given, on_compute, work_address, worked_in
from mwalimu.azure.cloud.settings import CloudSettings
from mwalimu.config import TASKS
from mwalimu.errors import ConfigError

ROWS = "rows"


def evaluation_job(
    model: Any, test: Path, *, task: str, name: str, settings: CloudSettings, scratch: Path
) -> Any:
    """`model` is the SDK's record of a model that a command job has registered. Sends nothing.

    Raises:
        ConfigError: no such task or file, or a model that is no plain folder of transformers.
    """
    if model.type != "custom_model":
        raise ConfigError(
            f"is of type {model.type}, which is not asked there",
            where=f"model {model.name}",
            fix="download it, and evaluate it on this machine",
        )
    if task not in TASKS:
        raise ConfigError(f"{task[:80]!r} is no task", where="task", fix=f"use {', '.join(TASKS)}")
    if not test.is_file():
        raise ConfigError("no such file", where=str(test), fix="check the path")
    folder = scratch / "test"
    folder.mkdir()
    shutil.copy2(test, folder / rows_file(test))
    asset = f"azureml:{model.name}:{model.version}"
    return on_compute(
        settings,
        scratch,
        name=name,
        command=command_line(rows_file(test), task),
        inputs={"model": given(asset, "custom_model"), "test": given(str(folder))},
        outputs={"work": worked_in(work_address(settings, name))},
        tags={"mwalimu.evaluates": f"{model.name}:{model.version}"},
        experiment_name="mwalimu-evaluation",
    )


def command_line(rows: str, task: str) -> str:
    measure = shlex.join(["python", "-m", "mwalimu.azure.cloud.measure", task])
    test = f'"${{{{inputs.test}}}}/{rows}"'
    return f'cd "${{{{outputs.work}}}}" && {measure} "${{{{inputs.model}}}}" {test} {RUN_FOLDER}'


def rows_file(test: Path) -> str:
    """A name of ours, with the suffix that a reader goes by."""
    known = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
    suffix = next((one for one in known if test.name.lower().endswith(one)), ".jsonl")
    return f"{ROWS}{suffix}"
