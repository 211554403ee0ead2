"""Lives of a writer that end by SIGKILL: at every step of its disk work, or after a random time.

    python -m tests.signals.lives FOLDER TIMED_KILLS

Each life is a fork, so that thousands are cheap. A step is a call that changes the disk; a write
counts as two, with half of its bytes out in between. After each kill a last life runs to the end,
and the folder has to be what an undisturbed life makes. Prints JSON: how many of each kind.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mwalimu import files
from tests.signals.cases import ENCODINGS, rows_for, write

ENCODING = ENCODINGS["topk"]
LENGTHS = (3, 0, 7, 1, 12, 5, 2, 9, 4, 4, 1)
ROWS = rows_for(ENCODING, LENGTHS)
ROWS.insert(6, ROWS[1])  # a key that an earlier shard has


class Halting:
    """A file that writes in two halves."""

    def __init__(self, handle: IO[bytes], step: Callable[[], None]) -> None:
        self.handle = handle
        self.step = step

    def __enter__(self) -> Halting:
        return self

    def __exit__(self, *error: object) -> None:
        self.handle.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)

    def write(self, content: bytes) -> None:
        self.step()
        self.handle.write(content[: len(content) // 2])
        self.handle.flush()
        self.step()
        self.handle.write(content[len(content) // 2 :])


def kill_at(last: int) -> None:
    """From now on, step number `last` is the end."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            step()
            return work(*arguments, **named)

        return wrapped

    def open_halting(path: Path, mode: str, **named: Any) -> Any:
        if "w" not in mode:
            return open(path, mode, **named)
        step()
        return Halting(open(path, mode, **named), step)

    files.open = open_halting  # type: ignore[attr-defined]
    for name in ("replace", "fsync", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


def live(folder: Path, last: int = 0) -> int:
    """Starts a life; 0 is never reached. Returns its process id."""
    child = os.fork()
    if child == 0:
        kill_at(last)
        write(folder, ENCODING, ROWS)
        os._exit(0)
    return child


def ended(child: int) -> bool:
    """Waits; whether it was not killed."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def main() -> None:
    root, timed = Path(sys.argv[1]), int(sys.argv[2])
    started = time.perf_counter()
    assert ended(live(root / "whole"))
    seconds = time.perf_counter() - started
    expected = digest(root / "whole")
    folder = root / "killed"
    at_steps = 0
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if ended(live(folder, at_steps + 1)):
            break
        at_steps += 1
        assert ended(live(folder)) and digest(folder) == expected, f"killed at step {at_steps}"
    rng = random.Random(0)
    shutil.rmtree(folder)
    after_a_time = 0
    while after_a_time < timed:
        child = live(folder)
        time.sleep(rng.random() * seconds)
        os.kill(child, signal.SIGKILL)
        if ended(child):
            assert digest(folder) == expected
            shutil.rmtree(folder)
        else:
            after_a_time += 1
    assert ended(live(folder)) and digest(folder) == expected
    print(json.dumps({"at_steps": at_steps, "after_a_time": after_a_time, "files": len(expected)}))


if __name__ == "__main__":
    main()
