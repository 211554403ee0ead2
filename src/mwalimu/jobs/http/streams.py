"""Answers that last as long as somebody listens: how many may do so at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mwalimu.jobs.http.problems import Problem, Refused
from mwalimu.jobs.records import Owner
from mwalimu.jobs.settings import Quotas

RETRY_S = 15  # until who was refused may ask again


class Streams:
    """Those that are open, by owner. Lives on the event loop."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._open: Counter[str] = Counter()

    def of(self, owner: str) -> int:
        return self._open[owner]

    def total(self) -> int:
        return self._open.total()

    @contextmanager
    def place(self, who: Owner) -> Iterator[None]:
        """While inside, one more is open. Raises Refused: there are as many as may be."""
        own = self.quotas.of(who.role).streams
        if own is not None and self._open[who.name] >= own:
            raise _full(f"{who.name} may have {own} streams open", "close one")
        if self._open.total() >= self.quotas.streams:
            raise _full(f"{self.quotas.streams} streams are open", "try again later")
        self._open[who.name] += 1
        try:
            yield
        finally:
            self._open[who.name] -= 1
            self._open += Counter()  # who has none is forgotten


class Stream(StreamingResponse):
    """Has its place from the first byte to the last, however it ends."""

    def __init__(
        self, pieces: AsyncIterator[bytes], media_type: str, place: AbstractContextManager[None]
    ) -> None:
        super().__init__(pieces, media_type=media_type)
        self.place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.place:
            await super().__call__(scope, receive, send)


def _full(what: str, fix: str) -> Refused:
    return Refused(Problem(429, what, "streams", fix, retry_s=RETRY_S))
