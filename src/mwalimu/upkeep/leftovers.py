"""What unfinished writing leaves under a hidden name, and what a finished run does not need."""

from __future__ import annotations

import shutil
from pathlib import Path

from mwalimu.files import exclusive
from mwalimu.run import Run
from mwalimu.upkeep.folders import existing

_UNFINISHED = (".tmp", ".source", ".making")


def leftovers(root: Path) -> list[Path]:
    """Hidden files and folders of writes that did not end; the outermost of each.

    A hidden `.old` counts where its successor stands: where a crash left only the old, that is
    what will be gone on with.
    """
    found = [path for path in root.rglob(".*") if _is_leftover(path)]
    return [path for path in found if not any(outer in path.parents for outer in found)]


def _is_leftover(path: Path) -> bool:
    if path.suffix in _UNFINISHED:
        return True
    replaced = path.with_name(path.name[1:].removesuffix(".old"))
    return path.suffix == ".old" and replaced.exists()


def spent(root: Path, *, arms: bool) -> list[Path]:
    """Checkpoints of a finished fine-tuning; with `arms` also the baselines' weights of a finished
    evaluation, which another evaluation would make again. What was paid for is never among it."""
    run, found = Run(root), []
    if run.stage("finetune"):
        found.append(root / "finetune" / "checkpoints")
    if arms and run.stage("evaluate"):
        found.append(root / "evaluate" / "arms")
    return [path for path in found if path.exists()]


def repair(root: Path) -> list[Path]:
    """Removes leftovers; returns them.

    Raises:
        RunError: another process works in the run, or it is no run folder.
    """
    existing(root)
    with exclusive(root, "run folder"):
        return _removed(leftovers(root))


def collect_garbage(root: Path, *, arms: bool, dry: bool) -> tuple[list[Path], int]:
    """Removes leftovers and what is spent, or with `dry` only finds it; paths and bytes.

    Raises:
        RunError: another process works in the run, or it is no run folder.
    """
    existing(root)
    with exclusive(root, "run folder"):
        found = [*leftovers(root), *spent(root, arms=arms)]
        size = sum(map(_size, found))
        return (found if dry else _removed(found)), size


def _removed(paths: list[Path]) -> list[Path]:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return paths


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())
