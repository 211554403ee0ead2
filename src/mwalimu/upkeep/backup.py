"""A copy of a run and its answers, taken while both may be written."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.files import disk_errors, fsync_folder, fsync_tree, is_held, sha256_file, write_json
from mwalimu.synthesis.store import SEGMENT, has_answers, open_for_reading
from mwalimu.upkeep.folders import existing

_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


class _Changed(Exception):
    """A stage was published anew while its files were copied."""


def back_up(root: Path, answers: Path | None, target: Path) -> int:
    """Writes `target`/run and, where there is a store, `target`/answers; returns the bytes.

    Of the run all that its manifest lists, each file held against its hash, with config.yaml and
    the newest checkpoints of a fine-tuning under way. Of the answers what stood there when it
    began: they only ever grow, and a torn end is cut when the copy is opened.

    Raises:
        RunError: `target` exists, `root` is no run folder, or is not what its manifest says.
        DiskFull: nothing of the copy stays.
    """
    if target.exists():
        raise RunError("exists", where=str(target), fix="name a new folder for the copy")
    making = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(making, ignore_errors=True)
    try:
        with disk_errors(target):
            _copy_run(root, making / "run")
            if answers is not None and has_answers(answers):
                _copy_answers(answers, making / "answers")
            fsync_tree(making)
            making.rename(target)
            fsync_folder(target.parent)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _copy_run(root: Path, copy: Path) -> None:
    """Again, after a moment, while a command that works there may be publishing."""
    for pause_s in _PAUSES_S:
        shutil.rmtree(copy, ignore_errors=True)
        working = is_held(root)
        with suppress(_Changed):
            manifest = existing(root).manifest
            for stage in manifest["stages"].values():
                for file, digest in stage["files"].items():
                    _copy_file(root / file, copy / file, digest)
            _copy_unlisted(root, copy)
            write_json(copy / "run.json", manifest)
            return
        if not working:
            break
        time.sleep(pause_s)
    raise RunError(
        "its files are not what its manifest says",
        where=str(root),
        fix=f"see which with 'mwalimu runs verify {root}'",
    )


def _copy_file(source: Path, copy: Path, digest: str) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, copy)
    except FileNotFoundError:
        raise _Changed from None
    if sha256_file(copy) != digest:
        raise _Changed


def _copy_unlisted(root: Path, copy: Path) -> None:
    """What an unfinished run goes on from. A checkpoint that is removed meanwhile is left out;
    metrics.jsonl comes after them, so that no checkpoint relies on more lines than are there."""
    for source in sorted(root.glob("finetune/checkpoints/step-*")):
        place = copy / source.relative_to(root)
        try:
            shutil.copytree(source, place)
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(place, ignore_errors=True)
    for file in ("config.yaml", "finetune/metrics.jsonl"):
        if (root / file).is_file() and not (copy / file).exists():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, copy / file)


def _copy_answers(answers: Path, copy: Path) -> None:
    copy.mkdir(parents=True)
    with open_for_reading(answers / SEGMENT) as source, open(copy / SEGMENT, "wb") as target:
        source.seek(0)
        shutil.copyfileobj(source, target)
