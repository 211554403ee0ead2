"""Prompts through read, validate, contamination, exact and near duplicates: rows/s and peak memory.

    python benchmarks/curation/million.py --rows 1000000
    python benchmarks/curation/million.py --rows 50000 --peer VENV/bin/python

`--peer` is a Python with `datasets` and `datasketch`; the same work in a plain loop over them is
measured beside ours. Each program runs alone, in turn, `--rounds` times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from generated import write

HERE = Path(__file__).parent


def measured(command: list[str]) -> dict[str, Any]:
    """Runs a program to its end: its last line as JSON, seconds, and peak memory in MiB."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command[1]} failed")
        out.seek(0)
        found: dict[str, Any] = json.loads(out.read().splitlines()[-1])
    return found | {"seconds": time.perf_counter() - began, "mib": usage.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peer", type=Path)
    given = parser.parse_args()
    programs = {"mwalimu": (sys.executable, "ours.py")}
    if given.peer is not None and given.peer.exists():
        programs["datasets + datasketch"] = (str(given.peer), "peer.py")
    else:
        print("no --peer: a Python with datasets and datasketch is measured beside ours if named")
    print("| rows | program | rows/s | seconds | peak MiB | rows left | removed |")
    print("|--:|---|--:|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory() as scratch:
        planted = write(Path(scratch), given.rows, given.test_rows)
        for _ in range(given.rounds):
            for name, (python, script) in programs.items():
                one = measured([python, str(HERE / script), scratch])
                speed = f"{given.rows / one['seconds']:,.0f} | {one['seconds']:.1f}"
                counts = f"{one['out']:,} | {one['removed']}"
                line = f"| {given.rows:,} | {name} | {speed} | {one['mib']:,.0f} | {counts} |"
                print(line, flush=True)
    print(f"planted: {planted}")


if __name__ == "__main__":
    main()
