"""Whatever a power cut leaves, what was told as done is there, and nothing half done is believed.

MWALIMU_LONG=1 tries 10 times as many states.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.files import atomic_writer
from mwalimu.finetune.files import publish_folder
from mwalimu.run import Run
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import AnswerStore, Stored
from mwalimu.upkeep.backup import back_up
from mwalimu.upkeep.checking import check_run
from tests.figures import record
from tests.power.disk import Disk, laid_out, watched

State = dict[str, bytes | None]
AT_EACH = 40 if os.environ.get("MWALIMU_LONG") else 4
SEED = 4


class Cuts:
    """States of a disk are laid out and handed to `oracle`, up to `AT_EACH` a moment, with what
    had been `told` as done by then."""

    def __init__(self, folder: Path, oracle: Callable[[Path, dict[str, bytes]], None]) -> None:
        self.folder, self.oracle = folder, oracle
        self.chance = random.Random(SEED)
        self.told: dict[str, bytes] = {}
        self.waiting: list[tuple[State, dict[str, bytes]]] = []
        self.tried = 0

    def __call__(self, disk: Disk) -> None:
        seen: list[State] = []
        for _ in range(AT_EACH):
            state = disk.state(self.chance)
            if state not in seen:
                seen.append(state)
        self.waiting += [(state, dict(self.told)) for state in seen]

    def judge(self) -> None:
        """Outside of the watching: the oracle writes too."""
        for state, told in self.waiting:
            place = laid_out(state, self.folder / "after")
            self.oracle(place, told)
            shutil.rmtree(place)
        self.tried += len(self.waiting)
        self.waiting = []


def publish(run: Run, stage: str, texts: dict[str, bytes]) -> None:
    paths = [run.path(stage, name) for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        with atomic_writer(path) as handle:
            handle.write(text)
    run.finish(stage, f"fp-{stage}", paths, {"rows": 1})


def test_a_stage_is_whole_or_not_there(tmp_path: Path) -> None:
    versions = {b"one" * 50, b"two" * 90}

    def oracle(place: Path, told: dict[str, bytes]) -> None:
        run = Run(place)
        for stage in ("generate", "finetune"):
            state = run.stage(stage)
            assert state or stage not in told
            if state:
                assert all((place / file).read_bytes() in versions for file in state.files)

    cuts = Cuts(tmp_path, oracle)
    with watched(tmp_path / "run", cuts) as disk:
        run = Run(tmp_path / "run")
        for stage in ("generate", "finetune"):
            publish(run, stage, {"a.jsonl": b"one" * 50, "b.jsonl": b"two" * 90})
            cuts.told[stage] = b""
            disk.look()
            cuts(disk)
    cuts.judge()
    record("R4", "stages published", tried=cuts.tried, seed=SEED)


def test_answers_that_were_told_as_durable_are_there(tmp_path: Path) -> None:
    def raw(number: int) -> bytes:
        return b"answer %d" % number * 9

    def oracle(place: Path, told: dict[str, bytes]) -> None:
        with AnswerStore(place / "answers") as store:
            assert {key: store.get(key) for key in told} == told
            for number in range(30):  # nothing is there that was never put
                assert store.get(f"{number:064x}") in (None, raw(number))

    cuts, root = Cuts(tmp_path, oracle), tmp_path / "root"
    with watched(root, cuts) as disk, AnswerStore(root / "answers") as store:
        for first in range(0, 30, 3):
            numbers = range(first, first + 3)
            group = [Stored(f"{n:064x}", Cost(1, 2, 3), raw(n)) for n in numbers]
            store.mark_sent((one.key, one.cost) for one in group)
            store.put(group)
            store.sync()
            cuts.told |= {one.key: one.raw for one in group}
            disk.look()
            cuts(disk)
    cuts.judge()
    record("R4", "groups of answers", tried=cuts.tried, seed=SEED)


def test_a_folder_is_the_old_one_the_new_one_or_none(tmp_path: Path) -> None:
    """Of a student: none only within the moment of the change, and then its stage is not done."""

    def oracle(place: Path, told: dict[str, bytes]) -> None:
        files = sorted((place / "student").glob("*"))
        if files:
            assert {file.read_bytes() for file in files} in ({b"old" * 99}, {b"new" * 99})
            assert [file.name for file in files] == ["a", "b"]

    cuts = Cuts(tmp_path, oracle)
    for text in (b"old" * 99, b"new" * 99):
        with watched(tmp_path / "root", cuts) as disk:
            for inode in (*disk.bytes_now, *disk.names_now):
                disk.sync(inode)  # what was there is durable for long
            with publish_folder(tmp_path / "root" / "student") as folder:
                for name in ("a", "b"):
                    (folder / name).write_bytes(text)
        cuts.judge()
    record("R4", "folders published", tried=cuts.tried, seed=SEED)


def test_a_backup_is_whole_or_not_there(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    publish(run, "generate", {"a.jsonl": b"one" * 50})

    def oracle(place: Path, told: dict[str, bytes]) -> None:
        if (place / "copy").exists():
            assert not any(line.fix for line in check_run(place / "copy" / "run"))

    cuts = Cuts(tmp_path, oracle)
    with watched(tmp_path / "root", cuts):
        back_up(run.root, None, tmp_path / "root" / "copy")
    cuts.judge()
    record("R4", "backups", tried=cuts.tried, seed=SEED)


def test_without_fsync_torn_files_would_be_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the trial can fail."""
    cuts = Cuts(tmp_path, lambda place, told: Run(place) and None)
    monkeypatch.setattr(Disk, "sync", lambda disk, inode: None)
    with watched(tmp_path / "run", cuts):
        for number in range(6):
            publish(Run(tmp_path / "run"), "generate", {"a.jsonl": b"%d" % number * 50})
    with pytest.raises(RunError, match="is damaged"):
        cuts.judge()
