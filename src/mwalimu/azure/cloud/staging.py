"""A job's config and its files as one folder that means the same on another machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mwalimu.config import Config, TeacherConfig, secrets_of
from mwalimu.data.record import Json
from mwalimu.errors import ConfigError
from mwalimu.files import link_or_copy
from mwalimu.teachers.http import is_loopback

CONFIG_FILE = "distill.yaml"
FILES = "files"
_MODELS = ("model", "tokenizer", "encoder")
"""Settings of text that may be the folder of a model; a setting of type Path is a file always."""


def stage(config: Config, folder: Path) -> None:
    """Writes distill.yaml and what it names into `folder`: links where they can be, else copies.

    The files are called as their settings are, so that no name of a user's is in a path.

    Raises:
        ConfigError: a file is missing, a secret would go along, or an address is of this machine.
    """
    require_portable(config)
    plain, files = relocated(config)
    for place, source in files.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=link_or_copy)
        elif source.is_file():
            link_or_copy(source, target)
        else:
            raise ConfigError("no such file", where=str(source), fix="check the path")
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def relocated(config: Config) -> tuple[Json, dict[str, Path]]:
    """The plain mapping with the files' new places, and where each of them is now."""
    files: dict[str, Path] = {}

    def moved(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {
                name: moved(one, f"{key}.{name}" if key else name) for name, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [moved(one, f"{key}.{index}") for index, one in enumerate(value)]
        if isinstance(value, Path) or _is_model_folder(value, key):
            source = Path(value)
            place = f"{FILES}/{key}{'' if source.is_dir() else _suffix(source)}"
            files[place] = source
            return place
        return value

    plain: Json = moved(config.model_dump(mode="python"), "")
    return plain, files


def require_portable(config: Config) -> None:
    """Raises ConfigError for what must not, or cannot, go to another machine."""
    for where, teacher in named_teachers(config):
        address = urlsplit(teacher.base_url or "")
        if "@" in address.netloc or any(secrets_of(teacher.extra_body)):
            raise ConfigError(
                "holds a secret, which the workspace's storage would keep",
                where=f"{where}.{'base_url' if '@' in address.netloc else 'extra_body'}",
                fix="put it into an environment variable and name that in api_key_env",
            )
        if is_loopback(address.hostname or ""):
            raise ConfigError(
                f"{address.hostname} is this machine, which Azure's compute does not reach",
                where=f"{where}.base_url",
                fix="name an address that it reaches, or a model that runs on the compute",
            )


def named_teachers(config: Config) -> list[tuple[str, TeacherConfig]]:
    """Every model that is asked, with a setting that names it."""
    ensemble = config.ensemble
    found = [
        ("teacher", config.teacher),
        *[
            (f"ensemble.others.{i}", one)
            for i, one in enumerate(ensemble.others if ensemble else ())
        ],
        ("ensemble.judge", ensemble.judge if ensemble else None),
        ("judge", config.judge),
        ("generate.user_model", config.generate.user_model),
        ("curate.judge.teacher", config.curate.judge.teacher),
    ]
    return [(where, teacher) for where, teacher in found if teacher is not None]


def _is_model_folder(value: Any, key: str) -> bool:
    if not isinstance(value, str) or key.rpartition(".")[2] not in _MODELS:
        return False
    return os.path.isabs(value) and os.path.isdir(value)


def _suffix(file: Path) -> str:
    """What a reader goes by, such as .jsonl or .csv.gz."""
    suffixes = "".join(file.suffixes[-2:] if file.suffix == ".gz" else file.suffixes[-1:])
    return "".join(c for c in suffixes if c.isascii() and (c.isalnum() or c == "."))
