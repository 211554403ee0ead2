"""Answers of one store for another: a server's, which it bought on its own account."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mwalimu.synthesis.store import AnswerStore, Stored, read_answers

NO_ACCOUNT = ""
TOGETHER = 256  # answers


class Taken(NamedTuple):
    """Of the answers in the other store: new here, or known before."""

    new: int
    known: int


def take_answers(source: Path, store: Path) -> Taken:
    """Copies what `store` lacks; on nobody's account, since its money is on the other's.

    `source` is only read: its owner may be writing. Memory: a group of answers.

    Raises:
        RunError: `source` is no answer store, or another process works in `store`.
        DiskFull: some answers are copied; the next time goes on.
    """
    new = known = 0
    group: list[Stored] = []
    with AnswerStore(store, NO_ACCOUNT) as answers:
        for answer in read_answers(source):
            if answers.find(answer.key) is not None:
                known += 1
                continue
            new += 1
            group.append(answer)
            if len(group) == TOGETHER:
                answers.put(group)
                group = []
        answers.put(group)
        answers.sync()
    return Taken(new, known)
