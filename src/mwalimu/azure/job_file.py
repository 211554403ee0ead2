"""The YAML that `az ml job create` takes, with `type: distillation`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from mwalimu.azure.entities import (
    DistillationJob,
    EndpointRequestSettings,
    Input,
    Output,
    PromptSettings,
    ResourceConfiguration,
    ServerlessConnection,
    TeacherModelSettings,
)
from mwalimu.config.loading import read_mapping
from mwalimu.errors import ConfigError

T = TypeVar("T")


def load_job(path: str | Path) -> DistillationJob:
    """Local data is taken from the folder of the file.

    Raises:
        ConfigError: it cannot be read, is another kind of job, or has a field that is unknown.
    """
    file = Path(path)
    raw = read_mapping(file, fix="see docs/azure.md")
    if raw.get("type") != "distillation":
        raise ConfigError("is no job of type: distillation", where=str(file))
    return _job({key: value for key, value in raw.items() if key != "$schema"}, file)


def _job(raw: dict[str, Any], file: Path) -> DistillationJob:
    def record(kind: type[T], key: str) -> T | None:
        return None if raw.get(key) is None else _record(kind, raw[key], f"{file}: {key}")

    settings = record(TeacherModelSettings, "teacher_model_settings")
    if settings and settings.endpoint_request_settings is not None:
        settings.endpoint_request_settings = _record(
            EndpointRequestSettings,
            settings.endpoint_request_settings,
            f"{file}: teacher_model_settings.endpoint_request_settings",
        )
    outputs = raw.get("outputs") or {}
    placed = {
        **raw,
        **{
            key: _input(raw[key], file, key)
            for key in ("training_data", "validation_data", "test_data", "student_model")
            if raw.get(key) is not None
        },
        "teacher_model_endpoint_connection": record(
            ServerlessConnection, "teacher_model_endpoint_connection"
        ),
        "teacher_model_settings": settings,
        "prompt_settings": record(PromptSettings, "prompt_settings"),
        "resources": record(ResourceConfiguration, "resources"),
        "outputs": {n: _record(Output, o, f"{file}: outputs.{n}") for n, o in outputs.items()},
    }
    return _record(DistillationJob, placed, str(file))


def _input(value: Any, file: Path, key: str) -> Input:
    found = Input(path=value) if isinstance(value, str) else _record(Input, value, f"{file}: {key}")
    if key != "student_model" and ":" not in found.path:
        found.path = str(file.resolve().parent / found.path)
    return found


def _record(kind: type[T], raw: Any, where: str) -> T:
    if not isinstance(raw, dict):
        raise ConfigError("is not a mapping of settings", where=where)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            raise ConfigError(f"{key!r} is unknown; there are {', '.join(known)}", where=where)
    try:
        return kind(**raw)
    except TypeError as error:
        raise ConfigError(str(error).rpartition("() ")[2], where=where) from None
