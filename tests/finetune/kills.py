"""One training killed many times: a parent that has imported everything forks a child for each
life, waits until it is where it should die, and sends SIGKILL a random moment later."""

from __future__ import annotations

import json
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mwalimu.files import sha256_file
from mwalimu.finetune import task
from mwalimu.finetune.checkpoint import Checkpoints
from mwalimu.finetune.trainer import Trainer
from tests.finetune.jobs import sums, train, untimed, weights
from tests.tiny import make_tiny_model

JOB: dict[str, Any] = {
    "rows": sums(48),
    "validation": sums(8, seed=1),
    "batch_size": 2,
    "accumulation": 2,
    "save_every": 2,
    "validate_every": 5,
    "patience": 99,
}
DELAY = 0.7  # at most, of what a visit took in the whole training
PHASES = ("load", "step", "save", "validate", "publish")


class Phases:
    """How often a life was in each phase, where it is now, and how long a visit takes: memory that
    parent and child share."""

    def __init__(self) -> None:
        self.visits = memoryview(mmap.mmap(-1, 8 * len(PHASES))).cast("q")
        self.now = memoryview(mmap.mmap(-1, 8)).cast("q")
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def reset(self) -> None:
        self.visits[:] = memoryview(bytes(self.visits.nbytes)).cast("q")
        self.now[0] = -1

    def watch(self, owner: Any, function: str, phase: str) -> None:
        real, index = getattr(owner, function), PHASES.index(phase)

        def inside(*args: Any, **options: Any) -> Any:
            outer, self.now[0] = self.now[0], index
            self.visits[index] += 1
            start = time.perf_counter()
            try:
                return real(*args, **options)
            finally:
                self.seconds[phase] = time.perf_counter() - start
                self.now[0] = outer

        setattr(owner, function, inside)


def kill(model: Path, folder: Path, job: dict[str, Any], kills: int, seed: int) -> None:
    """Leaves in `folder` report.json: kills by phase, how many left something half written (torn),
    and what differed in the end. A training that ends before it was killed that often (chance, on a
    busy machine) is compared, and another one goes on where it was to be killed."""
    torch.set_num_threads(1)
    phases = Phases()
    _keep_the_last_checkpoint()
    phases.watch(task, "load_student", "load")
    phases.watch(Trainer, "_train_step", "step")
    phases.watch(Checkpoints, "save", "save")
    phases.watch(Trainer, "_validate", "validate")
    phases.watch(task, "save_student", "publish")
    start = time.perf_counter()
    train(model, folder / "warm", **job | {"epochs": 1})  # imports what is imported late
    phases.reset()
    train(model, folder / "whole", **job)
    steps = phases.visits[PHASES.index("step")]
    rng = random.Random(seed)
    hit = dict.fromkeys((*PHASES, "between"), 0)
    lives, torn, killed = 0, 0, folder / "killed"
    differ: list[str] = []
    while True:
        done = sum(hit.values())
        aim, visit = _aim(rng, done, kills, _progress(killed) / steps)
        delay = rng.uniform(0, DELAY * phases.seconds[aim]) if aim else 0.0
        phases.reset()
        where = _one_life(lambda: train(model, killed, **job), phases, aim, visit, delay)
        lives += 1
        if where is None:
            differ += _differences(folder / "whole", killed)
            if done >= kills:
                break
            shutil.rmtree(killed)
            continue
        hit[where] += 1
        torn += any(killed.rglob(".*.tmp")) or any(killed.rglob(".*.old"))
    report = {
        "hit": hit,
        "kills": sum(hit.values()),
        "lives": lives,
        "torn": torn,
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 1),
        "differ": differ,
    }
    (folder / "report.json").write_text(json.dumps(report))


def _aim(rng: random.Random, done: int, kills: int, progress: float) -> tuple[str, int]:
    """Where the next life ends: its phase, and at which visit. After all kills: nowhere."""
    if done >= kills:
        return "", 0
    if done >= 0.95 * kills:  # from there on lives are long
        return "publish", 1
    if progress > done / kills:  # ahead: lives that come no further
        return rng.choice(PHASES[:3]), 1
    aim = rng.choice(PHASES[:4])
    return aim, 1 if aim == "load" else rng.randrange(1, 6)


def _one_life(
    live: Callable[[], object], phases: Phases, aim: str, visit: int, delay: float
) -> str | None:
    """The phase in which it was killed; None if it came to its end."""
    child = os.fork()
    if not child:
        _be_silent()
        live()
        os._exit(0)
    while aim and phases.visits[PHASES.index(aim)] < visit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:  # the life before was killed when all was published
            assert status == 0, status
            return None
        time.sleep(0.0003)
    if aim:
        time.sleep(delay)
        where = phases.now[0]
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return "between" if where < 0 else PHASES[where]
    assert status == 0, status
    return None


def _progress(folder: Path) -> int:
    names = (p.name.removeprefix("step-") for p in (folder / "checkpoints").glob("step-*"))
    return max((int(name) for name in names), default=0)


def _keep_the_last_checkpoint() -> None:
    """Its hashes: weights and optimiser as they were after the last step."""
    real = Trainer._take_best

    def keep(trainer: Trainer) -> None:
        newest = trainer.folder / "checkpoints" / f"step-{trainer.state.step}"
        hashes = {path.name: sha256_file(path) for path in newest.glob("*.safetensors")}
        (trainer.folder / "last.json").write_text(json.dumps(hashes, sort_keys=True))
        real(trainer)

    Trainer._take_best = keep  # type: ignore[method-assign]


def _differences(whole: Path, killed: Path) -> list[str]:
    compared = {
        "published weights": weights,
        "last checkpoint": lambda folder: (folder / "last.json").read_text(),
        "log": untimed,
        "leftovers": lambda folder: sorted(path.name for path in folder.iterdir()),
    }
    return [name for name, of in compared.items() if of(whole) != of(killed)]


def _be_silent() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())


def job_of(kills: int, method: str) -> dict[str, Any]:
    """Longer the more kills it has to bear."""
    dropout = 0.2 if method == "lora" else 0.0
    return {**JOB, "epochs": max(8, kills // 16), "method": method, "dropout": dropout}


def main(kills: str, method: str = "full", seed: str = "0") -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_tiny_model(folder / "model")
        kill(model, folder, job_of(int(kills), method), int(kills), int(seed))
        print((folder / "report.json").read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
