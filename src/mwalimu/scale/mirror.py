"""A run folder and its answers in an object store, for a driver that may come back elsewhere.

    <address>/run/...                       what the manifest lists; run.json comes last
    <address>/answers/<first byte>          the answers' segment in pieces, by their places in it

The driver's own disk stays the truth: the mirror lags by at most `EVERY_S` of answers, is never
read while a run goes on, and has one driver at a time.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.files import exclusive, sha256_file
from mwalimu.run import Run
from mwalimu.scale.objects import Objects
from mwalimu.synthesis.store import MAGIC, SEGMENT, has_answers, stored_frames

EVERY_S = 30.0
PIECE = 1 << 26  # bytes of the segment in one object, at most


class Mirror:
    """`root` and `store` are the folders here. `note` is told what went wrong behind the work."""

    def __init__(self, address: str, root: Path, store: Path, note: Callable[[str], None]) -> None:
        self.objects = Objects(address)
        self.root = root
        self.segment = store / SEGMENT
        self.note = note
        self._sent = 0  # bytes of the segment
        self._one_at_a_time = threading.Lock()

    def pull(self) -> None:
        """What lacks here, before anything is opened.

        Raises:
            RunError: the mirror is of another run or of other answers, is damaged, or away.
        """
        self._pull_run()
        self._pull_answers()

    def push(self) -> None:
        """What is new here; answers first, so that no published row lacks its own.

        Raises:
            RunError: another driver has written meanwhile, or the store is away.
        """
        self.push_answers()
        if not (self.root / "run.json").exists():
            return
        manifest = Run(self.root).manifest
        there = self._manifest()
        known = _files(there) if there else {}
        for file, digest in _files(manifest).items():
            if known.get(file) != digest:
                self.objects.send(self.root / file, f"run/{file}")
        self.objects.write("run/run.json", (self.root / "run.json").read_bytes())

    def push_answers(self) -> None:
        """The whole frames that came since the last time."""
        with self._one_at_a_time:
            if not has_answers(self.segment.parent):
                return
            self._require_ours()
            with open(self.segment, "rb") as handle:
                end = _end_of_frames(handle.fileno(), self._sent)
                while self._sent < end:
                    handle.seek(self._sent)
                    piece = handle.read(min(PIECE, end - self._sent))
                    self.objects.write(f"answers/{self._sent:016d}", piece)
                    self._sent += len(piece)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Answers are pushed every while as they come, and once more at the end, however it is."""
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.push_answers()

    def _follow(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY_S):
            try:
                self.push_answers()
            except RunError as error:
                self.note(f"the mirror lags: {error}")

    def _require_ours(self) -> None:
        if (there := self._end()) != self._sent:
            raise RunError(
                f"has {there:,} bytes of answers where this run left {self._sent:,}",
                where=self.objects.address,
                fix="let one driver at a time use it, or name another scale.mirror",
            )

    def _pieces(self) -> dict[int, int]:
        """Length of each piece by its place."""
        return {int(name): size for name, size in self.objects.sizes("answers").items()}

    def _end(self) -> int:
        return max((place + size for place, size in self._pieces().items()), default=0)

    def _manifest(self) -> dict[str, object] | None:
        content = self.objects.read("run/run.json")
        return None if content is None else dict(json.loads(content))

    def _pull_run(self) -> None:
        there = self._manifest()
        if there is None:
            return
        if (self.root / "run.json").exists():
            if Run(self.root).manifest.get("id") != there.get("id"):
                raise RunError(
                    "is the mirror of another run",
                    where=self.objects.address,
                    fix="name another scale.mirror, or that run's folder",
                )
            return
        for file, digest in _files(there).items():
            path = self.root / file
            self.objects.fetch(f"run/{file}", path)
            if sha256_file(path) != digest:
                raise RunError(
                    "is not what its manifest says",
                    where=f"{self.objects.address}/run/{file}",
                    fix="name another scale.mirror",
                )
        self.objects.fetch("run/run.json", self.root / "run.json")

    def _pull_answers(self) -> None:
        """Appends what lacks; of what is there the last piece has to be the same."""
        pieces = self._pieces()
        if not pieces:
            return
        with exclusive(self.segment.parent, "answer store"), open(self.segment, "ab+") as handle:
            size = handle.seek(0, os.SEEK_END)
            last = max((place for place in pieces if place <= size), default=0)
            here = _end_of_frames(handle.fileno(), last)
            handle.truncate(here)
            for place in sorted(place for place in pieces if place >= last):
                piece = self.objects.read(f"answers/{place:016d}") or b""
                shared = piece[: max(0, here - place)]
                handle.seek(place)
                if place > here or handle.read(len(shared)) != shared:
                    raise self._other_answers()
                handle.write(piece[len(shared) :])
                self._sent = place + len(piece)
                here = max(here, self._sent)
            handle.flush()
            os.fsync(handle.fileno())

    def _other_answers(self) -> RunError:
        return RunError(
            "holds other answers than the store here",
            where=self.objects.address,
            fix="work in a folder without .mwalimu, or name another scale.mirror",
        )


def _end_of_frames(descriptor: int, start: int) -> int:
    """Of the whole frames of a segment from `start` on, where one begins; 0 where nothing stands.

    A frame that is being written, or was cut off, is left out.
    """
    size = os.fstat(descriptor).st_size
    if size < len(MAGIC):
        return 0
    end = max(start, len(MAGIC))
    for frame in stored_frames(descriptor, end, size):
        end = frame.offset + frame.length
    return end


def _files(manifest: dict[str, object]) -> dict[str, str]:
    stages = manifest["stages"]
    assert isinstance(stages, dict)
    return {file: digest for stage in stages.values() for file, digest in stage["files"].items()}
