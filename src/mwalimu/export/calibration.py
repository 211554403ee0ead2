"""Rows that a quantiser looks at: drawn from those that the student learned, encoded as it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mwalimu.data.examples import examples_of
from mwalimu.data.reservoir import Reservoir
from mwalimu.data.tokenize import encode_example
from mwalimu.errors import NoTargetTokens
from mwalimu.export.source import load_students_tokenizer


def calibration_rows(
    student: Path, learned: Path, *, wanted: int, max_length: int, seed: int
) -> list[list[int]]:
    """The ids, prompt and answer, of at most `wanted` rows in the order of the file.

    Every row has the same chance, and memory does not grow with the file. A conversation is taken
    whole; a row of which the prompt alone fills `max_length` is left out, as it was in training.

    Raises:
        StudentError: the student's tokenizer cannot be loaded.
    """
    tokenizer = load_students_tokenizer(student)
    encoded = (_encoded(tokenizer, row, max_length) for row in _drawn(learned, wanted, seed))
    return [ids for ids in encoded if ids]


def _drawn(path: Path, wanted: int, seed: int) -> list[dict[str, Any]]:
    lines = Reservoir[bytes](wanted, seed)
    with open(path, "rb") as file:
        for line in file:
            lines.offer(line)
    return [json.loads(line) for line in lines.items()]


def _encoded(tokenizer: Any, row: dict[str, Any], max_length: int) -> list[int]:
    *_, last = examples_of(row)
    try:
        return encode_example(tokenizer, last.chat, last.tools, max_length=max_length).ids
    except NoTargetTokens:
        return []
