"""Questions that clients asked, kept where the user asked for it: next round's training prompts.

Append-only files, `data/traffic.py` says of what. A line is written at once, so a killed server
loses none, and made durable with others a few times a second. A question is written once, however
often it is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mwalimu.data.seen import FirstSeen
from mwalimu.data.traffic import traffic_file, traffic_files, whole_rows
from mwalimu.files import disk_errors, exclusive, fsync_folder, read_at, write_all
from mwalimu.synthesis.rows import to_line

LARGEST = 64 << 20  # bytes of a file
GATHER_S = 0.2  # between two fsyncs

Note = Callable[[str], None]


class TrafficLog:
    """One writer at a time, kept by a lock on the folder. Use as an async context manager."""

    def __init__(self, folder: Path, note: Note, *, largest: int = LARGEST) -> None:
        """Raises RunError where another server writes there; DataError for a damaged file."""
        self.folder = folder
        self.largest = largest
        self.note = note
        self._syncing: asyncio.Task[None] | None = None
        self._written = self._durable = 0  # bytes of this life, over all files
        with ExitStack() as stack:
            stack.enter_context(exclusive(folder, "traffic folder"))
            self._seen = stack.enter_context(FirstSeen())
            files = traffic_files(folder)
            for path in files:
                for _, row in whole_rows(path, note):
                    self._seen.first(str(row.get("id")), 1)
            self._number = int(files[-1].stem[-6:]) if files else 1
            self._open()
            self._closing = stack.pop_all()

    async def __aenter__(self) -> TrafficLog:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._syncing is not None:
            self._syncing.cancel()
            with suppress(asyncio.CancelledError):
                await self._syncing
        try:
            with disk_errors(self.folder):
                os.fsync(self._file)
        finally:
            os.close(self._file)
            self._closing.close()

    def write(self, row: dict[str, Any]) -> bool:
        """Whether the row's `id` was new; a killed process keeps it from here on.

        Raises:
            DiskFull: nothing of it is written.
        """
        if self._seen.first(row["id"], 1) is not None:
            return False
        line = to_line(row)
        if self._end and self._end + len(line) > self.largest:
            self._turn()
        with disk_errors(self.folder):
            try:
                write_all(self._file, line)
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
        self._end += len(line)
        self._written += len(line)
        if self._syncing is None:
            self._syncing = asyncio.create_task(self._sync())
        return True

    def _open(self) -> None:
        path = traffic_file(self.folder, self._number)
        with disk_errors(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fsync_folder(self.folder)
        self._end = _whole(self._file)
        os.ftruncate(self._file, self._end)

    def _turn(self) -> None:
        """Goes on in a new file."""
        with disk_errors(self.folder):
            os.fsync(self._file)
        before = self._file
        self._number += 1
        self._open()
        os.close(before)

    async def _sync(self) -> None:
        try:
            while self._durable < self._written:
                await asyncio.sleep(GATHER_S)
                mark = self._written
                # A copy: the file may be another by the time that the thread comes to it.
                file = os.dup(self._file)
                try:
                    await asyncio.get_running_loop().run_in_executor(None, os.fsync, file)
                finally:
                    os.close(file)
                self._durable = mark
        except OSError as error:  # the next line tries again
            self.note(f"{self.folder}: traffic is not durable ({error.strerror})")
        finally:
            self._syncing = None


def _whole(file: int) -> int:
    """The length of a file up to the end of its last whole line."""
    position = os.fstat(file).st_size
    while position > 0:
        start = max(0, position - (1 << 16))
        found = read_at(file, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
