"""Lives of a generation for the kill tests, forked from a process that has everything imported.

Reads one JSON line a life: {"folder", "url", "rows", "concurrency", "die_at"}; answers with the
child's pid, then with its wait status. `die_at` n: SIGKILL right after the n-th write, fsync or
rename; 0 counts them and writes the number to <folder>/calls.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mwalimu.config import build_config
from mwalimu.data.record import Message, Record
from mwalimu.run import Run
from mwalimu.synthesis.generate import generate
from mwalimu.teachers import openai_chat, served
from tests.faults.calls import Calls

CHANGES = ("write", "fsync", "rename", "truncate")
assert served and openai_chat  # imported once, here


def watch(die_at: int) -> Calls:
    """The calls that change the disk, of which one is the last."""
    calls = Calls(CHANGES, at=die_at, number=0, after=True)
    calls.install()
    return calls


def live(life: dict[str, Any]) -> None:
    folder = Path(life["folder"])
    config = build_config(
        {
            "task": "generic",
            "data": {"train": "p.jsonl"},
            "teacher": {
                "model": "tiny",
                "base_url": life["url"],
                "concurrency": life["concurrency"],
            },
            "student": {"model": "none"},
        },
        base=folder,
    )
    rows = [Record(f"r{i}", "generic", (Message("user", f"q{i}"),)) for i in range(life["rows"])]
    calls = watch(life["die_at"]) if "die_at" in life else None
    generate(
        config,
        Run(folder / "run"),
        folder / "answers",
        rows,
        None,
        stage_fingerprint="f",
        on_progress=lambda *_: None,
    )
    if calls:
        (folder / "calls").write_text(str(calls.count))


def serve(live: Callable[[dict[str, Any]], None]) -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                live(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(live)
