"""What a run folder and its answers look like against what they promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mwalimu.errors import MachineError, RunError
from mwalimu.files import disk_errors, sha256_file
from mwalimu.run import STAGES, StageState
from mwalimu.signals.checks import verify as verify_signals
from mwalimu.synthesis.checking import check_store
from mwalimu.upkeep.folders import existing
from mwalimu.upkeep.leftovers import leftovers


class Line(NamedTuple):
    """`fix` says what to do; empty where nothing is wrong."""

    what: str
    said: str
    fix: str = ""


def check_run(root: Path) -> Iterator[Line]:
    """A line a finished stage, every byte of its files hashed, and one of what a crash left.

    Raises:
        RunError: there is no manifest, or it cannot be read.
    """
    run = existing(root)
    for name in STAGES:
        if (raw := run.manifest["stages"].get(name)) is not None:
            yield _stage(root, name, StageState(**raw))
    if left := leftovers(root):
        names = ", ".join(sorted(str(path.relative_to(root)) for path in left)[:5])
        said = f"{len(left)} unfinished: {names}"
        yield Line("leftovers", said, f"mwalimu runs repair {root}")


def _stage(root: Path, name: str, state: StageState) -> Line:
    again = "run the job again: the stage and those after it are made anew"
    for file, digest in sorted(state.files.items()):
        path = root / file
        if not path.is_file():
            return Line(name, f"{file} is missing", again)
        try:
            if sha256_file(path) != digest:
                return Line(name, f"{file} is not what was published", again)
        except MachineError as error:
            return Line(name, f"{file}: {error.what}", f"look at the disk, then {again}")
    if name == "signals":
        try:
            for file in state.files:
                if file.endswith("/manifest.json"):
                    verify_signals((root / file).parent)
        except RunError as error:
            return Line(name, str(error), again)
    size = sum((root / file).stat().st_size for file in state.files)
    return Line(name, f"whole, {len(state.files)} files, {size:,} bytes")


def check_answers(folder: Path) -> Iterator[Line]:
    """Lines about an answer store; its owner may be writing.

    Raises:
        RunError: it is no answer store of this version.
    """
    try:
        with disk_errors(folder):
            state = check_store(folder)
    except MachineError as error:
        fix = "look at the disk; on a sound one a copy of what can still be read is a store too"
        yield Line("answers", error.what, fix)
        return
    yield Line("answers", f"{state.answers:,} answers whole, {state.size:,} bytes")
    if state.damaged:
        said = f"{state.damaged:,} bytes among them are no answer"
        yield Line("answers", said, "what stood there is asked for again; look at the disk")
    if state.unindexed:
        said = f"the index passed over {state.unindexed:,} of them"
        yield Line("answers", said, f"mwalimu runs repair --answers {folder}")
