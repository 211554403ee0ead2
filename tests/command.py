"""The command line as a user has it: a process of its own, with its exit code and its two streams.

Forked from a process that has imported everything already, so that a life costs milliseconds, not
the seconds that importing torch takes. Nothing is run in that process, only imported.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess

from tests.faults.calls import guarded

PRELOADED = [
    "tests.thawed",
    "tests.command",
    "tests.finetune.worker",
    "tests.finetune.kills",
    "tests.finetune.parallel.work",
    "mwalimu.auto.execute",
    "mwalimu.choosing",
    "mwalimu.arms",
    "mwalimu.synthesis.generate",
    "mwalimu.teachers.local",
    "mwalimu.report.plots",
    "matplotlib.figure",
    "peft",
    "rouge_score.rouge_scorer",
    "transformers.models.llama.modeling_llama",
    "transformers.models.phi3.modeling_phi3",
    "tests.frozen",
]


def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@dataclass(frozen=True, slots=True)
class Command:
    """One that runs. Its streams are files, so that it never waits for a reader."""

    process: ForkServerProcess
    streams: Path

    def lasts(self, seconds: float) -> bool:
        """Whether it still runs so long from now; False as soon as it ends."""
        self.process.join(seconds)
        return self.process.is_alive()

    def kill(self) -> None:
        """As `kill -9` does, with all that it started."""
        assert self.process.pid
        os.killpg(self.process.pid, signal.SIGKILL)

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        assert self.process.pid
        os.killpg(self.process.pid, signal.SIGINT)

    def finished(self, timeout: float = 300) -> CompletedProcess[str]:
        assert not self.lasts(timeout), f"still runs after {timeout} s"
        code = self.process.exitcode
        assert code is not None
        out, err = ((self.streams / name).read_text(encoding="utf-8") for name in ("out", "err"))
        shutil.rmtree(self.streams)
        return CompletedProcess([], code, out, err)


def start(
    *arguments: str, cwd: Path, env: Mapping[str, str] = {}, file_size: int | None = None
) -> Command:
    """`file_size`: bytes that no file may exceed, as on a full disk."""
    streams = Path(tempfile.mkdtemp())
    for name in ("out", "err"):
        (streams / name).touch()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    process = processes().Process(
        target=_life, args=(arguments, str(cwd), environment, str(streams), file_size)
    )
    process.start()
    return Command(process, streams)


def mwalimu(
    *arguments: str, cwd: Path, file_size: int | None = None, **env: str
) -> CompletedProcess[str]:
    return start(*arguments, cwd=cwd, env=env, file_size=file_size).finished()


def _life(
    arguments: tuple[str, ...],
    cwd: str,
    environment: dict[str, str],
    streams: str,
    file_size: int | None,
) -> None:
    import torch

    from mwalimu.cli import main

    os.setsid()
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{streams}/{name}", os.O_WRONLY), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)  # the variable was read when torch was imported
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.argv = ["mwalimu", *arguments]
    if fault := environment.get("MWALIMU_TESTS_FAULT"):
        guarded(fault, main)
    else:
        main()
