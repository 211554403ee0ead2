"""A provider's batch API: a file of requests, answered within a day at a lower price."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, NamedTuple, Protocol

from mwalimu.files import disk_errors
from mwalimu.teachers.base import Request

BatchStatus = Literal["running", "ended", "failed", "expired", "cancelled"]
PIECE = 1 << 20  # bytes read at once
UNREADABLE = "a line of the results that cannot be read"


class Limits(NamedTuple):
    """Of one file."""

    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    `succeeded` counts the requests with an answer, None where the provider does not tell.
    `detail` is its word on a batch that failed as a whole; `queue_full`: it failed only because
    too much waits already. `files` are where the results lie.
    """

    remote: str
    status: BatchStatus
    done: int = 0
    total: int = 0
    succeeded: int | None = None
    detail: str = ""
    queue_full: bool = False
    files: tuple[str, ...] = ()


class Result(NamedTuple):
    """One line of the results.

    `raw` is what the online wire would have brought, None where `reason` says why there is none.
    `billed`: the work may have been done all the same. `key` is empty in a line without meaning.
    """

    key: str
    raw: bytes | None
    reason: str = ""
    billed: bool = False


class Search(NamedTuple):
    """A batch that went out in a life that did not see its id come back.

    `since` is when, by our clock, in Unix seconds; `taken` are the ids of other batches of ours.
    """

    tag: str
    requests: int
    since: float
    taken: frozenset[str]


class Found(NamedTuple):
    """`remote` is None where there is no such batch, or, if not `sure`, where one cannot tell."""

    remote: str | None
    sure: bool = True


class QueueFull(Exception):
    """The provider takes no more for now; nothing of this file was taken."""


class Gone(Exception):
    """The provider knows the batch, or its results, no longer."""


class RequestFile:
    """Requests on their way, in a file without a name: it may be larger than is good for memory."""

    def __init__(self, folder: Path, separator: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._separator = separator
        self.count = 0
        self.size = 0

    def add(self, line: bytes) -> None:
        """Raises DiskFull."""
        data = self._separator + line if self.count else line
        with disk_errors(self._folder):
            self._file.write(data)
        self.count += 1
        self.size += len(data)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes from the beginning, as often as it is sent."""
        with disk_errors(self._folder):
            self._file.flush()
        self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield piece

    def close(self) -> None:
        self._file.close()


class BatchClient(Protocol):
    """Only asks: who calls it retries, and keeps what it learns.

    Every method that asks raises TransientError, TeacherError kinds, or Gone.
    """

    limits: Limits
    separator: bytes  # between two requests of a file
    place: str  # whose batches these are, without any secret
    cached_discount: bool  # whether cached prompt tokens are cheaper here too

    def line(self, key: str, request: Request) -> bytes:
        """The request as it stands in the file. Raises RowError for what cannot be asked."""

    async def submit(self, file: RequestFile, tag: str) -> str:
        """The id of a new batch, which bears the tag where that is possible. Raises QueueFull."""

    async def poll(self, remote: str) -> BatchState: ...

    def results(self, state: BatchState) -> AsyncGenerator[Result, None]:
        """Every line of the results as it comes, in any order."""

    async def find(self, search: Search) -> Found:
        """The batch that was sent, and whose id was lost."""

    async def cancel(self, remote: str) -> None:
        """What is answered by then is kept and paid; the rest is not done."""

    async def close(self) -> None: ...


def unix_time(value: object) -> float | None:
    """Providers write times as Unix seconds or in ISO 8601."""
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def number(value: object) -> int:
    """A count, 0 where a provider leaves it out while it is still at work."""
    return int(value) if isinstance(value, (int, float)) else 0
