"""What watches a process beside the main one: nothing is written, nobody is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Unseen:
    """In the place of a `Watch`."""

    def step(self, *_of: object) -> None: ...

    def validation(self, _loss: float, _answer_nats: float, *, better: bool) -> None: ...

    def epoch(self, _number: int) -> None: ...

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield

    def sync(self) -> None: ...

    def close(self) -> None: ...
