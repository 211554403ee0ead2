"""Starts a trial in a process of its own, and tells how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mwalimu.errors import MwalimuError, StudentError
from mwalimu.files import write_json
from mwalimu.shipping.telling import rebuilt
from mwalimu.shipping.trial import Found, Job, read_found

LAST = 2000  # characters of what a process that died has said


def in_subprocess(job: Job, on_done: Callable[[int], None]) -> Found:
    """The trial without a GPU: what is exported here runs on CPUs.

    Raises:
        MwalimuError: what the trial raised.
        StudentError: its process died, as a runtime's own code can make it.
    """
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "error.json").unlink(missing_ok=True)
    write_json(out / "job.json", asdict(job))
    command = [sys.executable, "-m", "mwalimu.shipping.trial", str(out / "job.json")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with (
        open(out / "stderr.txt", "w+b") as said,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                if line.strip().isdigit():  # a runtime may write there too
                    on_done(int(line))
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if (found := read_found(out, job.wanted)) is not None and code == 0:
        return found
    raise _error(job, code)


def _error(job: Job, code: int) -> MwalimuError:
    out = Path(job.out)
    if (out / "error.json").exists():
        return rebuilt(json.loads((out / "error.json").read_bytes()))
    lines = (out / "stderr.txt").read_text("utf-8", "replace")[-LAST:].strip().splitlines()
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    last = f" ({lines[-1]})" if lines else ""
    return StudentError(
        f"its runtime {how}{last}", where=job.folder, fix=f"see {out / 'stderr.txt'}"
    )
