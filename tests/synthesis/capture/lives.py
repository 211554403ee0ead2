"""Lives of a capture that end by SIGKILL at every step of its disk work.

    python -m tests.synthesis.capture.lives FOLDER EVERY

Each life is a fork of a process that has everything imported, so that many are cheap. A step is a
call that changes the disk. After a kill a second life runs to the end, and the folder has to be
what an undisturbed life makes. Prints JSON: lives, those that were killed, and the digests found.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mwalimu.config import Config
from mwalimu.run import Run
from mwalimu.synthesis.capture.capture import capture
from mwalimu.synthesis.capture.local import LocalScorer
from mwalimu.synthesis.capture.stored import KeptScorer
from tests.synthesis.capture.jobs import answered_run, examples, gold_rows, job

ROWS, ROWS_PER_SHARD = 10, 4
WATCHED = ("write", "fsync", "replace", "unlink", "mkdir")


def kill_at(last: int) -> list[int]:
    """From now on step number `last` is the end; counts the steps in the list's only place."""
    steps = [0]

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            steps[0] += 1
            if steps[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in WATCHED:
        setattr(os, name, wrapped(getattr(os, name)))
    return steps


def live(folder: Path, config: Config, teacher: LocalScorer, last: int) -> int:
    """Wait status of a life; it leaves its number of steps in a file beside the folder."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        scorer = KeptScorer(config, folder / "answers", teacher)
        steps = kill_at(last)
        capture(
            config,
            Run(folder / "run"),
            scorer,
            stage_fingerprint="capture",
            on_progress=lambda *_: None,
        )
        folder.with_suffix(".steps").write_text(str(steps[0]), encoding="utf-8")
        status = 0
    finally:
        os._exit(status)


def digest(folder: Path) -> str:
    """Of everything under signals/ and of the stage's entry in the manifest but its seconds."""
    total = hashlib.sha256()
    for path in sorted((folder / "run" / "signals").rglob("*")):
        total.update(str(path.relative_to(folder)).encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    manifest = json.loads((folder / "run" / "run.json").read_bytes())
    stage = manifest["stages"]["signals"]
    del stage["summary"]["seconds"]
    total.update(json.dumps(stage, sort_keys=True).encode())
    return total.hexdigest()


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    rows = gold_rows(ROWS)
    long = {"role": "user", "content": "lamp " * 300}
    rows[5] = rows[5] | {"messages": [long, rows[5]["messages"][-1]]}
    answered_run(folder / "run", rows)
    return folder


def main() -> None:
    root, every = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    settings = {"encoding": "topk", "rows_per_shard": ROWS_PER_SHARD}
    config = job(root, ["forward_kl", "chunk_likelihood"], signals=settings)
    teacher = LocalScorer(config)
    teacher.score(examples(1))  # loads the model, once for all lives
    whole = fresh(root / "whole")
    assert live(whole, config, teacher, 0) == 0
    steps = int(whole.with_suffix(".steps").read_text(encoding="utf-8"))
    expected, found, killed = digest(whole), set(), 0
    for last in range(1, steps + 1, every):
        folder = fresh(root / "life")
        killed += live(folder, config, teacher, last) == signal.SIGKILL
        assert live(folder, config, teacher, 0) == 0
        found.add(digest(folder))
    lives = len(range(1, steps + 1, every))
    print(json.dumps({"lives": lives, "killed": killed, "same": found == {expected}}))


if __name__ == "__main__":
    main()
