"""`export.json`: what an export's folder holds, and that it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from mwalimu.config import ExportFormat
from mwalimu.errors import RunError
from mwalimu.files import sha256_file, write_json

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
MANIFEST = "export.json"


@dataclass(frozen=True, slots=True)
class Export:
    """One export, named as its target in the config.

    `weights` is the file or folder (relative) that the runtime loads; `files` are SHA-256.

    `ends` are the ids any of which ends an answer. `basis` is the fingerprint of what it was made
    from: the student's files and the settings.
    """

    name: str
    format: ExportFormat
    precision: str
    weights: str
    context: int
    ends: tuple[int, ...]
    basis: str
    made_with: Mapping[str, str]
    files: Mapping[str, str]


def write_export(folder: Path, export: Export) -> None:
    """The last file of an export: a folder without it is not finished."""
    write_json(folder / MANIFEST, asdict(export))


def hashed(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of an export but its manifest."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(str(path.relative_to(folder)) for path in files)
    return {name: sha256_file(folder / name) for name in names if name != MANIFEST}


def read_export(folder: Path, *, verify: bool = False) -> Export:
    """The manifest of an export's folder; `verify` reads and hashes every file.

    Raises:
        RunError: there is none, it is damaged, or a file is missing or changed.
    """
    path = folder / MANIFEST
    try:
        raw: dict[str, Any] = json.loads(path.read_bytes())
        export = Export(**raw | {"ends": tuple(raw["ends"])})
        if export.format not in FORMATS:
            raise ValueError(f"unknown format {export.format!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"is no whole export ({error})", where=str(path), fix="run 'mwalimu export' again"
        ) from None
    if verify and (wrong := _wrong(folder, export.files)):
        raise RunError(
            f"{len(wrong)} files are missing or changed, the first is {wrong[0]}",
            where=str(folder),
            fix="run 'mwalimu export' again, or copy the folder anew",
        )
    return export


def _wrong(folder: Path, files: Mapping[str, str]) -> list[str]:
    def fits(name: str) -> bool:
        return (folder / name).is_file() and sha256_file(folder / name) == files[name]

    return [name for name in sorted(files) if not fits(name)]
