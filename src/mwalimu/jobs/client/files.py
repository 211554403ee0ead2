"""A config's files as datasets of the service: which they are, and what is refused.

The service follows no path. What is a file of rows here is uploaded, and the config names it by
`dataset:NAME@VERSION`; equal bytes have the same name, so nothing is uploaded twice. Small files,
such as a schema, go inside the submission and are `file:NAME`.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.data.record import Json
from mwalimu.errors import ConfigError
from mwalimu.jobs.workspace import plain_name

ROWS = ("data.train", "data.validation", "data.test", "data.labelled", "prompts.seeds")
TEXTS = (
    *("prompts.personas", "prompts.template"),
    *("generate.json_schema", "curate.json_schema", "evaluate.tasks_file"),
)
FOLDER = "prompts.documents"
DOCUMENTS = {".txt", ".md"}
_NEITHER = ("data.traffic", "prepare.select.scores", "evaluate.encoder")
_SUFFIXES = {".jsonl", ".ndjson"}
_STEM = 60  # characters of a file's name that stay in the dataset's


@dataclass(frozen=True, slots=True)
class RowsFile:
    """What `key` of the config names; `dataset` is what its content is called."""

    key: str
    path: Path
    dataset: str
    sha256: str


def rows_files(config: Json, base: Path) -> list[RowsFile]:
    """The local files of rows; relative paths are taken from `base`.

    Raises:
        ConfigError: one is not there or no JSONL; a setting names a file of another kind, or a
            model's folder, which the service would not find.
    """
    for key in _NEITHER:
        if _at(config, key) is not None:
            raise ConfigError(
                "names a file of this machine, of a kind that the service does not take",
                where=key,
                fix="leave it out, or use 'mwalimu run'",
            )
    for key, model in _models(config):
        _refuse_folder(key, model, base)
    return list(_found(config, base))


def with_texts(submission: Json, base: Path) -> Json:
    """The submission with the small files of its config, and the documents, inside it.

    Raises ConfigError: one is not there, or is no text.
    """
    config = submission["config"]
    files, names = dict(submission.get("files") or {}), {}
    for key in (*TEXTS, FOLDER):
        value = _at(config, key)
        if value is None or str(value).startswith("file:"):
            continue
        path = base / str(value)
        name = f"{key}{'' if key == FOLDER else path.suffix}"
        files[name] = _documents(path) if key == FOLDER else _text(key, path)
        names[key] = f"file:{name}"
    return {**submission, "config": named(config, names), **({"files": files} if files else {})}


def named(config: Json, names: dict[str, str]) -> Json:
    """The config with `names` in place of its files, by key: dataset:NAME@VERSION, file:NAME."""
    changed = copy.deepcopy(config)
    for key, name in names.items():
        section, _, leaf = key.rpartition(".")
        changed[section][leaf] = name
    return changed


def rows_file(key: str, path: Path) -> RowsFile:
    """Raises ConfigError: it is not there, or no JSONL."""
    if not path.is_file():
        fix = "name one; 'mwalimu data convert' makes one of several"
        raise ConfigError("no such file", where=f"{key}: {path}", fix=fix)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(
            "is no JSONL, which is what the service takes",
            where=f"{key}: {path}",
            fix="see 'mwalimu data convert'",
        )
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path)) from None
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_")[:_STEM] or "rows"
    return RowsFile(key, path, f"{stem}-{digest[:12]}", digest)


def _documents(folder: Path) -> dict[str, str]:
    """Those in it and below it, by names that keep their order and are whole by themselves."""
    if not folder.is_dir():
        raise ConfigError("no such folder", where=f"{FOLDER}: {folder}")
    found: dict[str, str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in DOCUMENTS and p.is_file()):
        name = plain_name("-".join(path.relative_to(folder).with_suffix("").parts))
        found[f"{len(found):05}-{name}{path.suffix}"] = _text(FOLDER, path)
    if not found:
        raise ConfigError("has no .txt or .md", where=f"{FOLDER}: {folder}")
    return found


def _text(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", where=f"{key}: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=f"{key}: {path}") from None


def _found(config: Json, base: Path) -> Iterator[RowsFile]:
    for key in ROWS:
        value = _at(config, key)
        if value is None or str(value).startswith("dataset:"):
            continue
        yield rows_file(key, base / str(value))


def _models(config: Json) -> Iterator[tuple[str, Any]]:
    yield "student.model", _at(config, "student.model")
    for key in ("teacher", "judge", "ensemble.judge", "generate.user_model"):
        yield f"{key}.model", _at(config, f"{key}.model")
    yield "curate.judge.teacher.model", _at(config, "curate.judge.teacher.model")
    others = _at(config, "ensemble.others")
    for number, other in enumerate(others if isinstance(others, list) else []):
        yield f"ensemble.others.{number}.model", other.get("model")


def _refuse_folder(key: str, model: Any, base: Path) -> None:
    text = str(model or "")
    if text and not text.startswith("model:") and (base / text).is_dir():
        raise ConfigError(
            "is a folder of this machine, and the service follows no path",
            where=f"{key}: {text}",
            fix="name a model of the registry, or a registered one by model:NAME",
        )


def _at(config: Json, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
