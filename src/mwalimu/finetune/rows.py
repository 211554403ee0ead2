"""Chats to training rows; what cannot be learned is told at once, by the rows' names."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from mwalimu.data.examples import examples_of
from mwalimu.data.tokenize import Encoded, encode_example
from mwalimu.errors import DataError, NoTargetTokens

Rows = list[dict[str, Any]]

NAMED_ROWS = 5
LEARN = ("last", "all")


def check_rows(rows: Rows, validation: Rows) -> None:
    """Raises DataError if there is no row, or naming the rows that do not end with an answer.

    The same for rows whose `learn` is none of `LEARN`.
    """
    if not rows:
        raise DataError("there is no row to learn from", where="finetune")
    all_rows = [*rows, *validation]
    if bare := [row for row in all_rows if not _has_answer(row)]:
        raise DataError(
            f"{len(bare)} rows do not end with an answer: {_names(bare)}",
            where="finetune",
            fix="give each of them a last message of role assistant",
        )
    if unknown := [row for row in all_rows if row.get("learn", "last") not in LEARN]:
        raise DataError(
            f"{len(unknown)} rows have an unknown 'learn': {_names(unknown)}",
            where="finetune",
            fix=f"use one of {', '.join(LEARN)}, or leave it out",
        )


def _has_answer(row: dict[str, Any]) -> bool:
    messages = row["messages"]
    return len(messages) > 1 and messages[-1]["role"] == "assistant"


def _names(rows: Rows) -> str:
    shown = ", ".join(str(row.get("id", "?")) for row in rows[:NAMED_ROWS])
    return shown + (", ..." if len(rows) > NAMED_ROWS else "")


def encode_splits(
    tokenizer: Any, rows: Rows, validation: Rows, max_length: int
) -> tuple[list[Encoded], list[Encoded]]:
    """Rows to ids and targets, in order; a row that teaches all its turns becomes several.

    Raises:
        NoTargetTokens: names all rows of which a prompt fills `max_length`.
        DataError: the chat template refuses a row.
    """
    full: Rows = []
    train, held_out = (
        _encode_split(tokenizer, split, max_length, full) for split in (rows, validation)
    )
    if full:
        raise NoTargetTokens(
            f"the prompts of {len(full)} rows leave no room for an answer: {_names(full)}",
            where="finetune",
            fix=f"raise student.max_length (now {max_length}) or drop the rows",
        )
    return train, held_out


def _encode_split(tokenizer: Any, rows: Rows, max_length: int, full: Rows) -> list[Encoded]:
    """Adds to `full` the rows of which a prompt fills `max_length`."""
    encoded: list[Encoded] = []
    for row in rows:
        try:
            encoded += _encode_row(tokenizer, row, max_length)
        except NoTargetTokens:
            full.append(row)
        except TemplateError as error:
            raise DataError(
                f"the chat template refuses the row ({error})", where=f"row {row.get('id', '')}"
            ) from error
    return encoded


def _encode_row(tokenizer: Any, row: dict[str, Any], max_length: int) -> list[Encoded]:
    return [
        encode_example(
            tokenizer, e.chat, e.tools, max_length=max_length, row_id=e.row_id, key=e.key
        )
        for e in examples_of(row)
    ]
