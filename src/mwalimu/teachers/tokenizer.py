"""The tokenizer of a model that is served elsewhere."""

from __future__ import annotations

from typing import Any

from mwalimu.config import TeacherConfig
from mwalimu.data.loading import CannotLoad, load_tokenizer
from mwalimu.data.tokenize import prepare_tokenizer
from mwalimu.errors import UnknownTeacherModel


def tokenizer_of(config: TeacherConfig) -> Any:
    """A served teacher's, ready to write prompts. Raises UnknownTeacherModel."""
    name = config.tokenizer or config.model
    try:
        tokenizer = load_tokenizer(name)
    except CannotLoad as error:
        raise UnknownTeacherModel(
            f"its tokenizer cannot be read ({error})",
            where=name,
            fix="name a transformers folder or a hub id in teacher.tokenizer",
        ) from None
    prepare_tokenizer(tokenizer)
    return tokenizer
