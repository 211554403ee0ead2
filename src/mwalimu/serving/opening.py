"""Finds what is to be served: a run's student, an export, or a transformers folder."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.data.loading import BASE_FILE, CannotLoad, base_of, load_tokenizer
from mwalimu.data.tokenize import ending_ids, prepare_tokenizer
from mwalimu.errors import RunError, StudentError
from mwalimu.run import Run
from mwalimu.runtimes import read_export
from mwalimu.runtimes.manifest import MANIFEST


@dataclass(frozen=True, slots=True)
class Served:
    """`encoding` and `decoding` are the same tokenizer: each is used by one thread."""

    folder: Path
    name: str
    encoding: Any
    decoding: Any
    ends: frozenset[int]


def student_folder(target: Path) -> Path:
    """Of a run folder its student; else the folder itself.

    Raises:
        RunError: there is no such folder, or the run has no finished student.
    """
    if (target / "run.json").exists():
        run = Run(target)
        run.require("finetune")
        return run.path("finetune", "student")
    if not any((target / name).exists() for name in (MANIFEST, "config.json", BASE_FILE)):
        raise RunError(
            "is no run, no export and no model folder",
            where=str(target),
            fix="name one that has run.json, export.json or config.json",
        )
    return target


def open_served(target: Path, name: str | None) -> Served:
    """All but the decoder; `name` is what clients call it, by default the folder's.

    Raises RunError, StudentError.
    """
    folder = student_folder(target)
    try:
        tokenizer = load_tokenizer(str(folder))
        prepare_tokenizer(tokenizer)
        ends = _ends(folder, tokenizer)
    except CannotLoad as error:
        raise StudentError(f"cannot be served ({error})", where=str(folder)) from None
    return Served(folder, name or target.resolve().name, tokenizer, copy.deepcopy(tokenizer), ends)


def _ends(folder: Path, tokenizer: Any) -> frozenset[int]:
    from transformers import GenerationConfig

    if (folder / MANIFEST).exists():
        return frozenset(read_export(folder).ends)
    source = folder
    if not (folder / "generation_config.json").exists() and (base := base_of(folder)):
        source = Path(base["model"])
    try:
        generation = GenerationConfig.from_pretrained(source, local_files_only=source.is_dir())
    except OSError:  # it has none
        generation = None
    return ending_ids(generation, tokenizer)
