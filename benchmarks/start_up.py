"""How long `mwalimu --help` takes, as a multiple of `python -c pass`; and what a process that
trains takes to begin and end, with the collector left alone and as ours have it.

    python benchmarks/start_up.py [--rounds 25]

Each round starts every command once, in turn; medians of processor time, which other work on the
machine moves less than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

BARE = "python -c pass"
TRAINS = "import mwalimu.finetune.finetune"
LOOKED_AT_LESS = f"""
from mwalimu import garbage
garbage.left_at_the_end()
with garbage.importing():
    {TRAINS}
"""
COMMANDS = {
    BARE: ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "mwalimu --help": ["-m", "mwalimu", "--help"],
    "mwalimu generate --help": ["-m", "mwalimu", "generate", "--help"],
    "what trains": ["-c", TRAINS],
    "what trains, as ours": ["-c", LOOKED_AT_LESS],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            taken[name].append(timed([sys.executable, *arguments]))
    bare = median(cpu for cpu, _ in taken[BARE])
    for name, found in taken.items():
        cpu, wall = (median(column) for column in zip(*found, strict=True))
        line = {"command": name, "cpu_ms": round(cpu * 1000, 1), "wall_ms": round(wall * 1000, 1)}
        print(json.dumps(line | {"times_bare": round(cpu / bare, 2)}))
    print("load average", *os.getloadavg())


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of the processor, and by the clock."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


if __name__ == "__main__":
    main()
