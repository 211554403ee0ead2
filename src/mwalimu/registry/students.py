"""From a student's name to its hub id, and what is known of it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence

from mwalimu.errors import ConfigError
from mwalimu.registry.catalogue import Model, Student, catalogue, loose

SUGGESTED = 3
LIKENESS = 0.5  # 'phi' is like 'phi-4-mini', 'gpt2' and 'student' are like none


def find_student(name: str) -> Student | None:
    """The student that `name` means: its own name, an alias, or its hub id."""
    return catalogue().find_student(name)


def search_students(words: Sequence[str] = ()) -> list[Student]:
    """The student whose name the words are, or else those that every word fits."""
    named = find_student(" ".join(words)) if words else None
    return [named] if named else [s for s in catalogue().students.values() if _fits(s, words)]


def resolve_student(model: str, *, key: str = "student.model") -> str:
    """The hub id that `model` means; a folder and a hub id stay as they are.

    So does a name that is like none of the registry's: the hub has a few old models of one word.

    Raises:
        ConfigError: it is like a name of the registry, and is none; names `key`, suggests the
            nearest.
    """
    if os.path.isdir(model):
        return model
    known = catalogue()
    found = known.find_student(model)
    if found is not None:
        return found.weights
    nearest = [] if "/" in model else nearest_names(model, known.student_index)
    if not nearest:
        return model
    raise ConfigError(
        f"{model!r} is no folder here and no student that is known by name",
        where=key,
        fix=f"did you mean {' or '.join(nearest)}? 'mwalimu models --students' lists all; "
        "or name a folder or a hub id",
    )


def nearest_names(
    model: str, index: Mapping[str, Model] | Mapping[str, Student], likeness: float = LIKENESS
) -> list[str]:
    """Names of the registry that are spelt most like `model`, the likest first."""
    spellings = difflib.get_close_matches(loose(model), index, n=2 * SUGGESTED, cutoff=likeness)
    names = dict.fromkeys(index[spelling].name for spelling in spellings)
    return list(names)[:SUGGESTED]


def _fits(student: Student, words: Sequence[str]) -> bool:
    texts = (student.family, *student.names())
    return all(any(loose(word) in loose(text) for text in texts) for word in words)
