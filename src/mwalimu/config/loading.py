"""`distill.yaml` read, overridden, validated and completed once; every problem names its key."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mwalimu.config.curation import CurateConfig
from mwalimu.config.evaluation import EvaluateConfig
from mwalimu.config.preparation import PrepareConfig
from mwalimu.config.prompts import PROMPT_FILES
from mwalimu.config.redact import public_config
from mwalimu.config.settings import Config, EnsembleConfig
from mwalimu.config.teacher import TeacherConfig
from mwalimu.config.tuning import TuneConfig
from mwalimu.errors import ConfigError, explained

SHOWN_PROBLEMS = 50


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads `path`, applies `key=value` overrides, validates, makes data paths absolute.

    Raises:
        ConfigError: names the file and key, and the nearest known key for an unknown one.
    """
    raw = read_mapping(path, fix="make one with 'mwalimu init DIR'")
    for override in overrides:
        apply_override(raw, override)
    return build_config(raw, base=path.resolve().parent, where=str(path))


def read_mapping(path: Path, *, fix: str) -> dict[str, Any]:
    """A YAML file of settings. Raises ConfigError; `fix` says where a good one comes from."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such config file", where=str(path), fix=fix) from None
    except (OSError, UnicodeDecodeError) as error:
        raise explained(error, str(path)) or ConfigError(
            f"cannot be read ({error})", where=str(path)
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_problem(error), where=_yaml_place(path, error)) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", where=str(path), fix=fix) from None
    if not isinstance(raw, dict):
        raise ConfigError("is not a mapping of settings", where=str(path), fix=fix)
    return raw


def build_config(raw: dict[str, Any], *, base: Path, where: str = "config") -> Config:
    """Validates a plain mapping; relative data paths and model folders are taken from `base`."""
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, where, Config) from None
    return _absolute(config, base)


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets `finetune.epochs=2` in the nested mapping `raw`; the value is read as YAML."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        shown = re.split("[:=]", override, maxsplit=1)[0]  # what follows may be a key
        fix = "write it as finetune.epochs=2"
        raise ConfigError(f"{shown!r} is not followed by =value", where="--set", fix=fix)
    try:
        put(raw, key, yaml.safe_load(value), where=f"--set {key}")
    except yaml.YAMLError as error:
        raise ConfigError(
            f"the value {_yaml_problem(error)}", where=f"--set {key}", fix="quote it"
        ) from None
    except RecursionError:
        raise ConfigError("the value is nested too deeply", where=f"--set {key}") from None


def put(raw: dict[str, Any], key: str, value: Any, *, where: str) -> None:
    """Sets the `value` of `finetune.epochs` in the nested mapping `raw`.

    Raises ConfigError, which names `where`: a part of the key holds no settings.
    """
    node = raw
    *parents, leaf = key.split(".")
    for part in parents:
        if node.get(part) is None:  # left out, or null as a resolved config writes it
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ConfigError(f"{part!r} holds a value, not settings", where=where)
    node[leaf] = value


def dump_config(config: Config) -> str:
    """The resolved config with every default written out and no secret."""
    return yaml.safe_dump(public_config(config), sort_keys=False, allow_unicode=True)


def _absolute(config: Config, base: Path) -> Config:
    """Paths from the folder of distill.yaml; what the registry knows of the models filled in."""
    from mwalimu.registry import resolve_student

    data = config.data.model_copy(
        update={
            name: base / value
            for name in ("train", "validation", "test", "labelled", "traffic")
            if (value := getattr(config.data, name)) is not None
        }
    )
    prompts = config.prompts and config.prompts.model_copy(
        update={
            name: base / value
            for name in PROMPT_FILES
            if (value := getattr(config.prompts, name)) is not None
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
            "prompts": prompts,
            "prepare": _prepare(config.prepare, base),
            "student": student,
            "teacher": _teacher(config.teacher, base, "teacher"),
            "ensemble": _ensemble(config.ensemble, base),
            "generate": generate.model_copy(update=changes),
            "curate": _curate(config.curate, base),
            "judge": _teacher(config.judge, base, "judge"),
            "evaluate": _evaluate(config.evaluate, base),
            "tune": _tune(config.tune, base),
        }
    )


def _prepare(prepare: PrepareConfig, base: Path) -> PrepareConfig:
    select = prepare.select
    if select is None or select.scores is None:
        return prepare
    placed = select.model_copy(update={"scores": base / select.scores})
    return prepare.model_copy(update={"select": placed})


def _evaluate(evaluate: EvaluateConfig, base: Path) -> EvaluateConfig:
    file, encoder = evaluate.tasks_file, evaluate.encoder
    placed = {"tasks_file": file and base / file, "encoder": encoder and _model_path(encoder, base)}
    return evaluate.model_copy(update=placed)


def _tune(tune: TuneConfig, base: Path) -> TuneConfig:
    """Students to choose from are named as the config's own is."""
    from mwalimu.registry import resolve_student

    def placed(models: tuple[Any, ...], key: str) -> tuple[str, ...]:
        return tuple(resolve_student(_model_path(str(model), base), key=key) for model in models)

    changes: dict[str, Any] = {}
    if tune.students:
        changes["students"] = placed(tune.students, "tune.students")
    models = tune.space.get("student.model")
    if isinstance(models, tuple):
        placed_models = placed(models, "tune.space.student.model")
        changes["space"] = {**tune.space, "student.model": placed_models}
    return tune.model_copy(update=changes)


def _ensemble(ensemble: EnsembleConfig | None, base: Path) -> EnsembleConfig | None:
    if ensemble is None:
        return None
    others = [_teacher(t, base, f"ensemble.others.{i}") for i, t in enumerate(ensemble.others)]
    judge = _teacher(ensemble.judge, base, "ensemble.judge")
    return ensemble.model_copy(update={"others": tuple(others), "judge": judge})


def _curate(curate: CurateConfig, base: Path) -> CurateConfig:
    changes: dict[str, Any] = {}
    if curate.judge.teacher:
        teacher = _teacher(curate.judge.teacher, base, "curate.judge.teacher")
        changes["judge"] = curate.judge.model_copy(update={"teacher": teacher})
    if curate.json_schema:
        changes["json_schema"] = base / curate.json_schema
    return curate.model_copy(update=changes)


def _teacher(teacher: TeacherConfig | None, base: Path, key: str) -> TeacherConfig | None:
    if teacher is None:
        return None
    from mwalimu.config.routing import resolve

    placed = teacher.model_copy(update={"model": _model_path(teacher.model, base)})
    return resolve(placed, key=key)


def _model_path(model: str, base: Path) -> str:
    """A folder beside distill.yaml wins over a hub id of the same name."""
    folder = base / model
    return str(folder) if os.path.isdir(folder) else model


def config_error(error: ValidationError, where: str, top: type[BaseModel]) -> ConfigError:
    """Every problem in one line; for an unknown key the nearest one that `top` knows there."""
    problems = []
    for item in error.errors(include_url=False)[:SHOWN_PROBLEMS]:
        if item["type"] == "default_factory_not_called":  # the field that it looks at is told of
            continue
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            problems.append(f"{key}: unknown key{_nearest(item['loc'], top)}")
        elif item["type"] == "missing":
            problems.append(f"{key}: is required")
        else:
            said = item["msg"].removeprefix("Value error, ")
            if item["type"] in ("int_parsing", "float_parsing"):
                said = said.partition(",")[0]  # without the value, which may be a key
            problems.append(f"{key}: {said}" if key else said)
    return ConfigError("; ".join(problems), where=where)


def _nearest(loc: tuple[int | str, ...], section: type[BaseModel]) -> str:
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
