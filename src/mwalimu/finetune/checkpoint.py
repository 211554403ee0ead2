"""Checkpoints `step-N/`: whole or absent, checked by hash, and never of another job.

model.safetensors      what is trained (under LoRA the adapter only) and the buffers
optimiser.safetensors  what the optimiser keeps of each parameter, by its name
state.json             where the job stands, the generators' states, the job's fingerprint
manifest.json          the SHA-256 of every other file; written last

Of several processes each writes a part, model-00001-of-00002.safetensors and so on; any number of
processes opens them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mwalimu.errors import TrainingError
from mwalimu.files import sha256_file
from mwalimu.finetune.disk import require_space
from mwalimu.finetune.exact import random_state, restore_random_state
from mwalimu.finetune.parallel.publishing import publish_together
from mwalimu.finetune.parallel.world import ALONE, World
from mwalimu.finetune.snapshot import Snapshot
from mwalimu.finetune.state import TrainState

STATE, MANIFEST = "state.json", "manifest.json"
SLACK = 1 << 20  # bytes: the two JSON files, headers, blocks of the file system
ROOM = "free some space and run the same command again, or lower finetune.keep"


class _Unusable(Exception):
    """Why a checkpoint is skipped."""


class Checkpoints:
    """The checkpoints of one job in one folder: the `keep` newest ones and the best."""

    def __init__(self, folder: Path, fingerprint: str, keep: int = 2, world: World = ALONE) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.keep = keep
        self.world = world

    def require_room(self, snapshot: Snapshot, published: int) -> None:
        """For all that will be on the disk at once, `published` bytes of the student among it.

        Raises:
            DiskFull: before anything is written, with the bytes that are needed and free.
        """
        most = self.keep + 2  # the best, and the one that is being written
        needed = most * (snapshot.size() + SLACK) + published
        there = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        what = f"{most} checkpoints and the student need"
        with self.world.agreed():
            require_space(self.folder, needed - there, what, fix=ROOM)

    def save(self, state: TrainState, snapshot: Snapshot) -> None:
        """Publishes `step-N`, then removes what is neither among the newest nor the best.

        Raises:
            NonFiniteLoss: something in it is not finite. Like DiskFull before anything is written.
            DiskFull: also while it is written; the older checkpoints are whole.
        """
        with self.world.agreed():
            snapshot.require_finite(state.step)
            size = sum(t.nbytes for held in snapshot.tensors().values() for t in held.values())
            require_space(self.folder, size + SLACK, "the next checkpoint needs", fix=ROOM)
        document = {
            "fingerprint": self.fingerprint,
            "state": state.to_json(),
            "random": self.world.gather(random_state()),
        }
        with publish_together(self._path(state.step), self.world) as temporary:
            with self.world.agreed():
                written = snapshot.write(temporary)
            hashes = dict(pair for part in self.world.gather(written) for pair in part.items())
            if self.world.main:
                hashes[STATE] = _write(temporary / STATE, document)
                _write(temporary / MANIFEST, hashes)
        if self.world.main:
            self._prune(state)

    def restore(self, snapshot: Snapshot, skipped: Callable[[str], None]) -> TrainState | None:
        """Loads the newest usable checkpoint, generators included; None if there is none.

        Those that are damaged or another job's are told to `skipped` and removed.
        """
        if self.world.main:
            self._tidy()
        for step in self.world.from_main(self._steps):
            try:
                document = self._agreed(self._checked, step)
            except _Unusable as reason:
                skipped(f"skipped checkpoint step-{step}: {reason}")
                if self.world.main:
                    self._remove(step)
                continue
            snapshot.read(self._path(step))
            # A process that the checkpoint does not know goes on with its own generators.
            for random in document["random"][self.world.rank : self.world.rank + 1]:
                restore_random_state(random)
            return TrainState.from_json(document["state"])
        return None

    def restore_weights(self, snapshot: Snapshot, step: int) -> None:
        """The weights of `step` only. Raises TrainingError if they were damaged meanwhile."""
        try:
            self._agreed(self._read, step)
        except _Unusable as reason:
            raise TrainingError(
                f"the best weights' checkpoint {reason}",
                where=str(self._path(step)),
                fix="run the same command again; it goes on from an earlier one",
            ) from None
        snapshot.read_weights(self._path(step))

    def _agreed(self, check: Callable[[int], dict[str, Any]], step: int) -> dict[str, Any]:
        """What `check` gives, if it has nothing to say against `step` in any process."""
        found, reason = {}, ""
        try:
            found = check(step)
        except _Unusable as error:
            reason = str(error)
        if against := list(filter(None, self.world.gather(reason))):
            raise _Unusable(against[0])
        return found

    def _checked(self, step: int) -> dict[str, Any]:
        """The state document; the weights that it calls the best must be whole as well."""
        document = self._read(step)
        best = TrainState.from_json(document["state"]).best
        if best is not None and best.step != step:
            try:
                self._read(best.step)
            except _Unusable as reason:
                raise _Unusable(f"its best, step-{best.step}, {reason}") from None
        return document

    def _read(self, step: int) -> dict[str, Any]:
        """Each process checks its share of the files."""
        folder = self._path(step)
        try:
            hashes = json.loads((folder / MANIFEST).read_bytes())
            for name in sorted(hashes)[self.world.rank :: self.world.size]:
                if sha256_file(folder / name) != hashes[name]:
                    raise _Unusable(f"is damaged, the hash of {name} does not fit")
            if STATE not in hashes:
                raise _Unusable(f"is damaged, {MANIFEST} does not list {STATE}")
            document = json.loads((folder / STATE).read_bytes())
            if document["fingerprint"] != self.fingerprint:
                raise _Unusable("is of another job")
            TrainState.from_json(document["state"])
        except FileNotFoundError as error:
            raise _Unusable(f"is damaged, {Path(error.filename).name} is missing") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _Unusable(f"is damaged ({type(error).__name__})") from None
        return dict(document)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def _steps(self) -> list[int]:
        """Newest first."""
        names = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def _prune(self, state: TrainState) -> None:
        steps = self._steps()
        newest = [step for step in steps[: self.keep] if step != state.step]
        kept = {state.step, *newest, *map(self._best_step, newest)}
        if state.best is not None:
            kept.add(state.best.step)
        for step in set(steps) - kept:
            self._remove(step)

    def _best_step(self, step: int) -> int:
        """Without its best weights, an older checkpoint would be of no use to fall back on."""
        try:
            best = json.loads((self._path(step) / STATE).read_bytes())["state"]["best"]
        except (OSError, ValueError, KeyError, TypeError):
            return step
        return int(best["step"]) if best else step

    def _remove(self, step: int) -> None:
        """Renamed first: a crash in the middle leaves no half checkpoint under a good name."""
        doomed = self.folder / f".step-{step}.tmp"
        os.replace(self._path(step), doomed)
        shutil.rmtree(doomed)

    def _tidy(self) -> None:
        """What a crash left: unfinished folders go, one that was just being replaced comes back."""
        for path in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(path)
        for path in self.folder.glob(".step-*.old"):
            target = path.with_name(path.name[1:].removesuffix(".old"))
            if target.exists():
                shutil.rmtree(path)
            else:
                os.replace(path, target)


def _write(path: Path, value: dict[str, Any]) -> str:
    """JSON; returns its SHA-256. The folder is made durable as a whole."""
    data = json.dumps(value, sort_keys=True).encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
