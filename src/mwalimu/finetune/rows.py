"""Chats to training rows; what cannot be learned is told at once, by the rows' names."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from mwalimu.data.tokenize import Encoded, encode_example
from mwalimu.errors import DataError, NoTargetTokens

Rows = list[dict[str, Any]]

NAMED_ROWS = 5


def check_rows(rows: Rows, validation: Rows) -> None:
    """Raises DataError if there is no row, or naming the rows that do not end with an answer."""
    if not rows:
        raise DataError("there is no row to learn from", where="finetune")
    bare = [row for row in [*rows, *validation] if not _has_answer(row)]
    if bare:
        raise DataError(
            f"{len(bare)} rows do not end with an answer: {_names(bare)}",
            where="finetune",
            fix="give each of them a last message of role assistant",
        )


def _has_answer(row: dict[str, Any]) -> bool:
    messages = row["messages"]
    return len(messages) > 1 and messages[-1]["role"] == "assistant"


def _names(rows: Rows) -> str:
    shown = ", ".join(str(row.get("id", "?")) for row in rows[:NAMED_ROWS])
    return shown + (", ..." if len(rows) > NAMED_ROWS else "")


def encode_rows(tokenizer: Any, rows: Rows, max_length: int) -> list[Encoded]:
    """Rows to ids and targets.

    Raises:
        NoTargetTokens: names all rows whose prompt fills `max_length`.
        DataError: the chat template refuses a row.
    """
    encoded, full = [], []
    for row in rows:
        row_id = str(row.get("id", ""))
        try:
            encoded.append(
                encode_example(tokenizer, row["messages"], max_length=max_length, row_id=row_id)
            )
        except NoTargetTokens:
            full.append(row)
        except TemplateError as error:
            raise DataError(
                f"the chat template refuses the row ({error})", where=f"row {row_id}"
            ) from error
    if full:
        raise NoTargetTokens(
            f"the prompts of {len(full)} rows leave no room for an answer: {_names(full)}",
            where="finetune",
            fix=f"raise student.max_length (now {max_length}) or drop the rows",
        )
    return encoded
