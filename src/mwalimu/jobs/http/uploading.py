"""A file of rows as a request's body: to disk as it comes, then checked, in constant memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from starlette.requests import ClientDisconnect

from mwalimu.data.formats.source import open_source
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Json
from mwalimu.errors import DataError
from mwalimu.files import disk_errors, fsync_folder
from mwalimu.jobs.http.problems import Problem, Refused, refused
from mwalimu.jobs.workspace import Workspace

UNFINISHED = ".upload-"
KEPT_PROBLEMS = 1000  # of more only the number is told


@dataclass(frozen=True, slots=True)
class Upload:
    """`size` in bytes."""

    path: Path
    sha256: str
    size: int

    def place(self, target: Path) -> None:
        """Under its own name, durably."""
        os.replace(self.path, target)
        fsync_folder(target.parent)


@asynccontextmanager
async def received(
    request: Request, workspace: Workspace, *, max_line: int
) -> AsyncIterator[Upload]:
    """The body as a file beside the datasets; it is gone afterwards unless it was placed.

    Raises Refused for a line of more than `max_line` bytes, or where the caller went away.
    """
    folder = workspace.datasets
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{UNFINISHED}{secrets.token_hex(8)}.jsonl"
    try:
        with open(path, "xb") as handle:
            digest, size = await _write(request, handle, max_line)
        yield Upload(path, digest, size)
    finally:
        path.unlink(missing_ok=True)


async def _write(request: Request, handle: BinaryIO, max_line: int) -> tuple[str, int]:
    digest, size, line = hashlib.sha256(), 0, 0
    try:
        async for piece in request.stream():
            line = longest(piece, line, max_line)
            digest.update(piece)
            size += len(piece)
            await asyncio.to_thread(_append, handle, piece)
    except ClientDisconnect:
        raise refused(400, "the file did not arrive whole") from None
    await asyncio.to_thread(_sync, handle)
    return digest.hexdigest(), size


def longest(piece: bytes, before: int, most: int) -> int:
    """The bytes of the line that `piece` leaves open, of which `before` came earlier.

    Raises Refused for a line of more than `most`.
    """
    start = 0
    while (end := piece.find(b"\n", start)) >= 0:
        if before + end - start > most:
            break
        before, start = 0, end + 1
    open_line = before + len(piece) - start if end < 0 else most + 1
    if open_line > most:
        raise refused(413, f"a line is longer than {most} bytes")
    return open_line


def _append(handle: BinaryIO, piece: bytes) -> None:
    with disk_errors(Path(handle.name)):
        handle.write(piece)


def _sync(handle: BinaryIO) -> None:
    with disk_errors(Path(handle.name)):
        handle.flush()
        os.fsync(handle.fileno())


def checked(upload: Upload, task: str, *, where: str) -> int:
    """The number of rows. What a provider asks of a file for its own training is no matter here.

    Raises Refused with every bad row.
    """
    rows, problems = 0, 0
    kept: list[Json] = []
    try:
        for _, found in open_source(upload.path, task=task).records():
            rows += 1
            if isinstance(found, BadRow):
                problems += 1
                if len(kept) < KEPT_PROBLEMS:
                    kept.append(_told(found))
    except DataError as error:  # its path is nobody's matter
        raise refused(400, error.what, where=where, fix=error.fix) from None
    if not rows:
        raise refused(400, "has no rows", where=where, fix="put one JSON object on each line")
    if problems:
        what = f"{problems} of {rows} rows are not usable"
        fix = "mend them, then upload the file again"
        raise Refused(Problem(400, what, where, fix, tuple(kept)))
    return rows


def _told(bad: BadRow) -> Json:
    return {"line": bad.line, "field": bad.field, "problem": bad.problem, "fix": bad.fix}


def remove_unfinished(workspace: Workspace) -> None:
    """What an earlier server left behind. To be called before requests are taken."""
    for path in workspace.datasets.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)
