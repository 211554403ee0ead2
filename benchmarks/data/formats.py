"""Rows a second and peak memory of `mwalimu data`, at two sizes: memory must not grow with rows.

    python benchmarks/data/formats.py --rows 10000 100000

The rows are those of a data set, repeated with new ids. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from mwalimu import api

TARGETS = ("mwalimu", "openai", "bedrock", "sharegpt", "alpaca")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--set", default="star")
    options.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    options.add_argument("--one", nargs=3, metavar=("WORK", "IN", "OUT"), help="internal")
    chosen = options.parse_args()
    if chosen.one:
        print(json.dumps(measure(*chosen.one)))
        return
    source = chosen.data / chosen.set / "train.jsonl"
    if not source.is_file():
        sys.exit(f"{source} is missing; name the folder of the data sets with --data")
    print("| work | rows | rows/s | peak, MiB |\n|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        for rows in chosen.rows:
            path = Path(name) / f"rows-{rows}.jsonl"
            repeat(source, path, rows)
            for work in ("start", "inspect", "validate", *TARGETS):
                print(line(work, path, Path(name) / "out.jsonl", rows), flush=True)


def repeat(source: Path, path: Path, rows: int) -> None:
    lines = source.read_text(encoding="utf-8").splitlines()
    with path.open("w", encoding="utf-8") as handle:
        for number, text in enumerate(islice(cycle(lines), rows)):
            handle.write(json.dumps(json.loads(text) | {"id": f"row-{number}"}) + "\n")


def line(work: str, path: Path, out: Path, rows: int) -> str:
    command = [sys.executable, __file__, "--one", work, str(path), str(out)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    speed = "" if work == "start" else f"{rows / found['s']:,.0f}"
    return f"| {work} | {rows:,} | {speed} | {found['mib']:.0f} |"


def measure(work: str, path: str, out: str) -> dict[str, float]:
    rows, target = Path(path), Path(out)
    works: dict[str, Callable[[], Any]] = {
        "start": lambda: None,
        "inspect": lambda: api.inspect_data(rows),
        "validate": lambda: api.validate_data(rows),
    }
    works |= {to: lambda to=to: api.convert_data(rows, target, to=to) for to in TARGETS}
    began = time.perf_counter()
    works[work]()
    seconds = time.perf_counter() - began
    return {"s": seconds, "mib": peak_mib()}


def peak_mib() -> float:
    """Of this process alone: getrusage would count the one it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
