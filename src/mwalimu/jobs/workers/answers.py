"""A job has an answer store of its own, so that several can ask at once; what it bought is then
everybody's."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.synthesis.sharing import take_answers
from mwalimu.synthesis.store import SEGMENT

PATIENCE_S = 60.0


@contextmanager
def own_answers(own: Path, shared: Path) -> Iterator[Path]:
    """The store `own`, with all that `shared` knows; which learns what was bought inside."""
    if (shared / SEGMENT).exists():
        take_answers(shared, own)
    try:
        yield own
    finally:
        if (own / SEGMENT).exists():
            _give(own, shared)


def _give(own: Path, shared: Path) -> None:
    """Another job may be giving its own at this moment. Given up late: `own` still has them."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            take_answers(own, shared)
        except RunError as error:
            if time.monotonic() > until:
                print(f"the answers stay with the job: {error}", file=sys.stderr, flush=True)
                return
            time.sleep(0.5)
        else:
            return
