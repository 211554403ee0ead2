"""What arrives in pieces: where a stream is, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from mwalimu.errors import RunError
from mwalimu.jobs.client import requests, told
from mwalimu.jobs.client.plans import Plan
from mwalimu.jobs.client.told import Artefact, JobInfo
from mwalimu.jobs.records import Event
from mwalimu.jobs.refusals import NotFound
from mwalimu.jobs.states import ENDED

T_co = TypeVar("T_co", covariant=True)


class Place(Protocol[T_co]):
    """Where a stream is. It is asked from there on, however often it breaks or the server stops.

    `ending` is whether what came last may have been the end; `over` asks.
    """

    @property
    def path(self) -> str: ...

    @property
    def ending(self) -> bool: ...

    def query(self) -> dict[str, str | int]: ...

    def taken(self, piece: bytes) -> Sequence[T_co]: ...

    def over(self) -> Plan[bool]: ...


class LogPlace:
    ending = False  # what is written does not tell

    def __init__(self, job: str, after: int) -> None:
        self.job = job
        self.path = requests.log(job).path
        self.after = after

    def query(self) -> dict[str, str | int]:
        return {"after": self.after, "follow": "true"}

    def taken(self, piece: bytes) -> list[bytes]:
        self.after += len(piece)
        return [piece]

    def over(self) -> Plan[bool]:
        found: JobInfo = yield requests.job(self.job)
        rest: bytes = yield requests.log(self.job, after=self.after)
        return found.state in ENDED and not rest


class EventPlace:
    path = "/v1/events"

    def __init__(self, job: str | None, after: int) -> None:
        self.job = job
        self.after = after
        self.ending = False
        self._torn = b""

    def query(self) -> dict[str, str | int]:
        self._torn = b""  # what a broken stream began is told again
        of_job = {} if self.job is None else {"job": self.job}
        return {"after": self.after, "follow": "true", **of_job}

    def taken(self, piece: bytes) -> list[Event]:
        *whole, self._torn = (self._torn + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        found = [told.event(block.decode().splitlines()) for block in whole]
        events = [one for one in found if one is not None]
        for event in events:
            self.after = event.number
            ended = event.kind == "state" and event.data["state"] in ENDED
            self.ending = ended and self.job is not None
        return events

    def over(self) -> Plan[bool]:
        """A job that ended may have been taken up again since."""
        if not self.ending:
            return False
        later: list[Event] = yield requests.events(after=self.after, job=self.job)
        return not later


class Saving:
    """A file that is being written beside its place."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)

    def close(self) -> str:
        self._file.close()
        return self._hash.hexdigest()


@contextmanager
def saving(to: Path, sha256: str | None) -> Iterator[Saving]:
    """Raises RunError if the bytes are not those of `sha256`."""
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.part")
    file = Saving(part)
    try:
        yield file
        if file.close() != sha256 is not None:
            raise RunError("arrived damaged", where=str(to), fix="download it again")
        part.replace(to)
    finally:
        file.close()
        part.unlink(missing_ok=True)


@contextmanager
def unpacking(to: Path) -> Iterator[Path]:
    """Yields where an archive is to be put; its files are then in `to`, and none elsewhere.

    Raises RunError if `to` is there already, or the archive has what is no plain file or folder.
    """
    if to.exists():
        raise RunError("is there already", where=str(to), fix="name a new folder")
    to.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    try:
        yield scratch / "archive.tar"
        _unpack(scratch / "archive.tar", scratch / "files")
        os.replace(_only_folder(scratch / "files"), to)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive, "r:*") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise RunError(
            f"cannot be unpacked ({type(error).__name__})", where="the model's archive"
        ) from None


def _only_folder(folder: Path) -> Path:
    """The folder with the files, whether or not the archive has one around them."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def inside(folder: Path, path: str) -> Path:
    """Raises RunError for what would lead out of the folder, whoever told of it."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path:
        raise RunError("leads out of the folder", where=repr(path))
    return folder / parts


def listed(files: Sequence[Artefact], job: str, path: str) -> Artefact:
    """Raises NotFound."""
    for file in files:
        if file.path == path:
            return file
    raise NotFound("is no file of the job's run", where=f"{job}: {path}")
