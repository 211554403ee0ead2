"""What every exporter starts from: a plain transformers folder, adapters merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mwalimu.data.loading import CannotLoad, base_of, load_causal_lm, load_tokenizer
from mwalimu.data.tokenize import prepare_tokenizer
from mwalimu.errors import StudentError


def load_student(folder: Path) -> tuple[Any, Any]:
    """(model, tokenizer). Raises StudentError."""
    try:
        return load_causal_lm(str(folder))
    except CannotLoad as error:
        raise _not_loaded(folder, error) from error


def load_students_tokenizer(folder: Path) -> Any:
    """Ready to encode and to decode. Raises StudentError."""
    try:
        tokenizer = load_tokenizer(str(folder))
    except CannotLoad as error:
        raise _not_loaded(folder, error) from error
    prepare_tokenizer(tokenizer)
    return tokenizer


def _not_loaded(folder: Path, error: CannotLoad) -> StudentError:
    return StudentError(f"cannot be loaded for export ({error})", where=str(folder))


def plain(student: Path, scratch: Path) -> Path:
    """Whole safetensors, tokenizer and chat template: `student` itself, or made in `scratch`.

    Raises:
        StudentError: it cannot be loaded, or its weights are quantised.
    """
    try:
        if not base_of(student):
            return student
    except CannotLoad as error:
        raise _not_loaded(student, error) from error
    model, tokenizer = load_student(student)
    prepare_tokenizer(tokenizer)
    model.merge_and_unload().save_pretrained(scratch, safe_serialization=True)
    tokenizer.save_pretrained(scratch)
    return scratch
