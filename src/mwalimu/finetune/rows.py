"""Chats to training rows; what cannot be learned is told at once, by the rows' names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2 import TemplateError

from mwalimu.data.dealing import dealt, together
from mwalimu.data.examples import examples_of
from mwalimu.data.tokenize import Encoded, encode_example
from mwalimu.errors import DataError, NoTargetTokens
from mwalimu.finetune.parallel.world import ALONE, World

Rows = list[dict[str, Any]]

NAMED_ROWS = 5
EXCHANGED = 4096  # rows of which processes tell each other at once
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
    tokenizer: Any, rows: Rows, validation: Rows, max_length: int, world: World = ALONE
) -> tuple[list[Encoded], list[Encoded]]:
    """Rows to ids and targets, in order; a row that teaches all its turns becomes several.

    The processes of `world` share the rows out and tell each other what became of them.

    Raises:
        NoTargetTokens: names all rows of which a prompt fills `max_length`.
        DataError: the chat template refuses a row.
    """
    full: Rows = []
    train, held_out = (
        _encode_split(tokenizer, split, max_length, world, full) for split in (rows, validation)
    )
    if full:
        raise NoTargetTokens(
            f"the prompts of {len(full)} rows leave no room for an answer: {_names(full)}",
            where="finetune",
            fix=f"raise student.max_length (now {max_length}) or drop the rows",
        )
    return train, held_out


def _encode_split(
    tokenizer: Any, rows: Rows, max_length: int, world: World, full: Rows
) -> list[Encoded]:
    """Adds to `full` the rows of which a prompt fills `max_length`."""
    encoded: list[Encoded] = []
    for start in range(0, len(rows), EXCHANGED):
        some = rows[start : start + EXCHANGED]
        with world.agreed():
            own = [_encode_row(tokenizer, row, max_length) for row in _share(some, world)]
        for row, found in zip(some, _of_all(own, world), strict=True):
            full += [row] if found is None else []
            encoded += found or []
    return encoded


def _share(rows: Rows, world: World) -> Iterator[dict[str, Any]]:
    return dealt(rows, world.rank, world.size)


def _of_all(own: list[list[Encoded] | None], world: World) -> list[list[Encoded] | None]:
    if world.size == 1:
        return own
    told = [None if row is None else [_told(one) for one in row] for row in own]
    return [
        None if row is None else [_heard(one) for one in row]
        for row in together(world.gather(told))
    ]


def _encode_row(tokenizer: Any, row: dict[str, Any], max_length: int) -> list[Encoded] | None:
    """None where a prompt of it fills `max_length`."""
    try:
        return [
            encode_example(
                tokenizer, e.chat, e.tools, max_length=max_length, row_id=e.row_id, key=e.key
            )
            for e in examples_of(row)
        ]
    except NoTargetTokens:
        return None
    except TemplateError as error:
        raise DataError(
            f"the chat template refuses the row ({error})", where=f"row {row.get('id', '')}"
        ) from error


def _told(one: Encoded) -> list[Any]:
    """As plain JSON; what is learned as the ends of its stretches, the first not learned."""
    mask = one.learned
    ends = [at for at in range(1, len(mask)) if mask[at] != mask[at - 1]]
    first = [0] if mask[:1] == b"\1" else []
    return [one.ids, [*first, *ends], one.row_id, one.truncated, one.key.hex(), one.target_crc]


def _heard(told: list[Any]) -> Encoded:
    ids, ends, row_id, truncated, key, crc = told
    mask = bytearray(len(ids))
    for start, end in zip(ends[::2], [*ends[1::2], len(ids)], strict=False):
        mask[start:end] = b"\1" * (end - start)
    return Encoded.of(ids, mask, row_id, truncated, bytes.fromhex(key), crc)
