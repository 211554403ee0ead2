"""Prompts a second and peak memory of prompt synthesis, with a teacher that answers at once.

    python benchmarks/data/synthesis.py --prompts 2000 20000

The teacher writes lists of five prompts of random words, so nearly all are accepted; what is left
is the stage's own work: asking, storing, reading, comparing, writing. Each size is a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mwalimu.config import build_config
from mwalimu.run import Run
from mwalimu.synthesis.prompts import synthesise
from mwalimu.teachers.base import Request
from mwalimu.teachers.fake import FakeTeacher

WORDS = [f"word{number}" for number in range(5_000)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--prompts", type=int, nargs="+", default=[2_000, 20_000])
    options.add_argument("--one", type=int, help="internal")
    chosen = options.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one)))
        return
    print("| prompts | accepted | requests | prompts/s | peak, MiB |\n|--:|--:|--:|--:|--:|")
    for prompts in chosen.prompts:
        command = [sys.executable, __file__, "--one", str(prompts)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            f"| {prompts:,} | {found['accepted']:,} | {found['requests']:,} "
            f"| {prompts / found['s']:,.0f} | {found['mib']:.0f} |",
            flush=True,
        )


def five(request: Request) -> str:
    chance = random.Random(request.key)
    lines = (" ".join(chance.choices(WORDS, k=12)) for _ in range(5))
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def measure(prompts: int) -> dict[str, Any]:
    raw = {
        "task": "generic",
        "teacher": {"model": "fake"},
        "student": {"model": "none"},
        "prompts": {
            "method": "self_instruct",
            "rows": prompts,
            "topics": ["weather", "money"],
            "rounds": 1000,
        },
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        ledger = synthesise(
            build_config(raw, base=folder),
            Run(folder / "run"),
            folder / "answers",
            stage_fingerprint="f",
            on_progress=lambda *_: None,
            teacher=FakeTeacher(five),
        )
        seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    accepted, requests = ledger["prompts"]["accepted"], ledger["inputs"]
    return {"s": seconds, "mib": peak, "accepted": accepted, "requests": requests}


if __name__ == "__main__":
    main()
