"""Real conversations as rows that a small pair can learn: one for each answer of the agent.

    python recipes/customer-service/turns.py --data FOLDER --out ROWS
    python -m recipes.small_pair formats/conversation --data ROWS --out DIR

FOLDER holds train, validation and test.jsonl in chat form, such as STAR's dialogues. Of the turns
before an answer the last stay that fit; a conversation's rows stay in its own split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mwalimu.data.dataset import load_records
from mwalimu.data.record import Message, Record
from mwalimu.errors import MwalimuError
from mwalimu.quickstart.job import write_jsonl

SPLITS = ("train", "validation", "test")
LONGEST = 360
"""Characters of a row: what the small pair takes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="train, validation, test.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows")
    given = parser.parse_args()
    try:
        for split in SPLITS:
            rows = list(answers(given.data / f"{split}.jsonl", split))
            write_jsonl(given.out / f"{split}.jsonl", rows)
            print(f"{split}: {len(rows):,} answers")
    except MwalimuError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def answers(path: Path, split: str) -> Iterator[dict[str, Any]]:
    """The rows of one file. Raises DataError for a file that is missing or has a bad row."""
    for record in load_records(path, task="conversation", split=split):
        yield from _of_one(record)


def _of_one(record: Record) -> Iterator[dict[str, Any]]:
    turns = [turn for turn in record.messages if turn.role != "system"]
    if record.reference:
        turns.append(Message("assistant", record.reference))
    for place, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        kept = _fitting(turns[:place], LONGEST - len(turn.content))
        if kept:
            chat = [{"role": one.role, "content": one.content} for one in (*kept, turn)]
            yield {"id": f"{record.id}-{place}", "task": "conversation", "messages": chat}


def _fitting(turns: list[Message], room: int) -> list[Message]:
    """The last turns that have at most `room` characters together, a user's first."""
    first = len(turns)
    while first and len(turns[first - 1].content) <= room:
        first -= 1
        room -= len(turns[first].content)
    while first < len(turns) and turns[first].role != "user":
        first += 1
    return turns[first:]


if __name__ == "__main__":
    sys.exit(main())
