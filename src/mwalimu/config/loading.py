"""`distill.yaml` read, overridden, validated and completed once; every problem names its key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mwalimu.config.redact import public_config
from mwalimu.config.settings import Config, EnsembleConfig, TeacherConfig
from mwalimu.errors import ConfigError


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads `path`, applies `key=value` overrides, validates, makes data paths absolute.

    Raises:
        ConfigError: names the file and key, and the nearest known key for an unknown one.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "no such config file", where=str(path), fix="make one with 'mwalimu init DIR'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_problem(error), where=_yaml_place(path, error)) from None
    if not isinstance(raw, dict):
        raise ConfigError("is not a mapping of settings", where=str(path), fix="see 'mwalimu init'")
    for override in overrides:
        apply_override(raw, override)
    return build_config(raw, base=path.resolve().parent, where=str(path))


def build_config(raw: dict[str, Any], *, base: Path, where: str = "config") -> Config:
    """Validates a plain mapping; relative data paths and model folders are taken from `base`."""
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise _config_error(error, where) from None
    return _absolute(config, base)


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets `finetune.epochs=2` in the nested mapping `raw`; the value is read as YAML."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        shown = re.split("[:=]", override, maxsplit=1)[0]  # what follows may be a key
        raise ConfigError(f"{shown!r} is not followed by =value", where="--set")
    node = raw
    *parents, leaf = key.split(".")
    for part in parents:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{part!r} holds a value, not settings", where=f"--set {key}")
        node = child
    try:
        node[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"the value {_yaml_problem(error)}", where=f"--set {key}", fix="quote it"
        ) from None


def dump_config(config: Config) -> str:
    """The resolved config with every default written out and no secret."""
    return yaml.safe_dump(public_config(config), sort_keys=False, allow_unicode=True)


def _absolute(config: Config, base: Path) -> Config:
    """Paths from the folder of distill.yaml; what the registry knows of the models filled in."""
    from mwalimu.registry import resolve_student

    data = config.data.model_copy(
        update={
            name: base / value
            for name in ("train", "validation", "test", "labelled")
            if (value := getattr(config.data, name)) is not None
        }
    )
    placed = _model_path(config.student.model, base)
    student = config.student.model_copy(update={"model": resolve_student(placed)})
    generate = config.generate
    changes: dict[str, Any] = {
        "user_model": _teacher(generate.user_model, base, "generate.user_model")
    }
    if generate.json_schema:
        changes["json_schema"] = base / generate.json_schema
    return config.model_copy(
        update={
            "data": data,
            "student": student,
            "teacher": _teacher(config.teacher, base, "teacher"),
            "ensemble": _ensemble(config.ensemble, base),
            "generate": generate.model_copy(update=changes),
        }
    )


def _ensemble(ensemble: EnsembleConfig | None, base: Path) -> EnsembleConfig | None:
    if ensemble is None:
        return None
    others = [_teacher(t, base, f"ensemble.others.{i}") for i, t in enumerate(ensemble.others)]
    judge = _teacher(ensemble.judge, base, "ensemble.judge")
    return ensemble.model_copy(update={"others": tuple(others), "judge": judge})


def _teacher(teacher: TeacherConfig | None, base: Path, key: str) -> TeacherConfig | None:
    if teacher is None:
        return None
    from mwalimu.registry import resolve

    placed = teacher.model_copy(update={"model": _model_path(teacher.model, base)})
    return resolve(placed, key=key)


def _model_path(model: str, base: Path) -> str:
    """A folder beside distill.yaml wins over a hub id of the same name."""
    folder = base / model
    return str(folder) if folder.is_dir() else model


def _config_error(error: ValidationError, where: str) -> ConfigError:
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            problems.append(f"{key}: unknown key{_nearest(item['loc'])}")
        elif item["type"] == "missing":
            problems.append(f"{key}: is required")
        else:
            problems.append(f"{key}: {item['msg'].removeprefix('Value error, ')}")
    return ConfigError("; ".join(problems), where=where)


def _nearest(loc: tuple[int | str, ...]) -> str:
    section: type[BaseModel] = Config
    for part in loc[:-1]:
        # What is no field is a place in a list, or a member of a union.
        field = section.model_fields.get(str(part))
        section = (field and _section_in(field.annotation)) or section
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds: itself, one that may be absent, or a list of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_section_in(part) for part in get_args(annotation))
    return next((section for section in inner if section), None)


def _yaml_place(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path}:{mark.line + 1}" if mark else str(path)


def _yaml_problem(error: yaml.YAMLError) -> str:
    return f"is not valid YAML ({getattr(error, 'problem', None) or 'unreadable'})"
