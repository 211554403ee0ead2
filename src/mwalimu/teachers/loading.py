"""A model folder or a hub id, loaded as a teacher on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mwalimu.data.loading import CannotLoad
from mwalimu.errors import UnknownTeacherModel

T = TypeVar("T")


def as_teacher(load: Callable[[str], T], name: str) -> T:
    """`load(name)`. Raises UnknownTeacherModel where `load` raises CannotLoad."""
    try:
        return load(name)
    except CannotLoad as error:
        raise UnknownTeacherModel(
            f"cannot be loaded as a teacher ({error})",
            where=name,
            fix="name a transformers folder or a hub id in teacher.model",
        ) from None
