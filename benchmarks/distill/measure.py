"""One training step of ours beside the same step of other tools.

    python benchmarks/distill/measure.py install --venvs DIR
    python benchmarks/distill/measure.py step --venvs DIR --rounds 3 --out results.json

The table goes to stdout, progress to stderr, every step to the JSON of --out. See README.md here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import table
from arms import ARMS, REFERENCE
from environments import HERE, Failed, Worker, absent, install

MEMORY_WANTED_GIB = 20  # of the full size on a CPU, with all arms


def main() -> int:
    arguments = parse()
    if arguments.command == "install":
        install(arguments.venvs)
        return 0
    if arguments.out:
        arguments.out.write_text("", encoding="utf-8")  # finds a mistyped folder before the hour
    names = arguments.arms.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # scratch and processes are cleared
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="distill-") as scratch:
        results = describe(arguments, names)
        prepare(arguments, Path(scratch), results)
        workers = start(names, arguments, Path(scratch), results)
        try:
            for number in range(1 - arguments.warm_up, arguments.rounds + 1):
                one_round(number, workers, results)
                if arguments.out:
                    arguments.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        finally:
            for worker in workers.values():
                worker.close()
    print(table.render(results))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("install", "step"))
    parser.add_argument("--venvs", type=Path, help="folder with the other tools' environment")
    parser.add_argument("--arms", default=",".join(ARMS), help="[default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="[default: %(default)s]")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds that do not count")
    parser.add_argument("--small", action="store_true", help="does it run? Its times mean nothing")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="float32 on a CPU")
    parser.add_argument("--limit", type=float, default=900, help="seconds to load, and for a step")
    parser.add_argument("--scratch", type=Path, help="where 5 GB of weights go")
    parser.add_argument("--out", type=Path, help="JSON of every step")
    arguments = parser.parse_args()
    if unknown := set(arguments.arms.split(",")) - ARMS.keys():
        parser.error(f"unknown arm {', '.join(sorted(unknown))}; known: {', '.join(ARMS)}")
    if arguments.command == "install" and arguments.venvs is None:
        parser.error("install needs --venvs DIR")
    arguments.size = "small" if arguments.small else "full"
    arguments.dtype = arguments.dtype or ("float32" if arguments.device == "cpu" else "bfloat16")
    return arguments


def prepare(arguments: argparse.Namespace, scratch: Path, results: dict[str, Any]) -> None:
    tell("weights, rows and what the teacher says of them")
    options = ["--size", arguments.size, "--dtype", arguments.dtype, "--out", str(scratch)]
    subprocess.run([sys.executable, str(HERE / "prepare.py"), *options], check=True)
    results["workload"] = json.loads((scratch / "facts.json").read_text("utf-8"))


def start(
    names: list[str], arguments: argparse.Namespace, scratch: Path, results: dict[str, Any]
) -> dict[str, Worker]:
    workers = {}
    for name in names:
        why = absent(ARMS[name], arguments.venvs)
        if not why:
            try:
                workers[name] = Worker(
                    ARMS[name], arguments.venvs, scratch, arguments.device, arguments.limit
                )
            except Failed as failure:
                why = str(failure)
        if why:
            results["not_run"][name] = why
        else:
            results["versions"][name] = workers[name].facts["versions"]
            results["machine"]["device"] = workers[name].facts["device"]
        tell(f"{name}: {why or 'ready'}")
    return workers


def one_round(number: int, workers: dict[str, Worker], results: dict[str, Any]) -> None:
    """One step of every arm, in an order of this round's own; up to round 0 it is warming up."""
    order = [name for name in workers if name not in results["not_run"]]
    random.Random(number).shuffle(order)
    for name in order:
        try:
            found = workers[name].step()
        except Failed as failure:
            results["not_run"][name] = str(failure)
            tell(f"round {number}, {name}: {failure}")
            continue
        tell(f"round {number}, {name}: {found['seconds']:.3f} s")
        if number > 0:
            results["rows"].append({"arm": name, "round": number} | found)


def describe(arguments: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    load = os.getloadavg()[0]
    free = free_gib()
    if load > 0.3:
        tell(f"warning: the load is {load:.1f}; other work on this machine changes the figures")
    if arguments.size == "full" and arguments.device == "cpu" and free < MEMORY_WANTED_GIB:
        tell(f"warning: {free:.0f} GiB are free; all arms want {MEMORY_WANTED_GIB}")
    machine = {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "memory free": f"{free:.0f} GiB",
        "load before": round(load, 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    settings = {"rounds": arguments.rounds, "warm_up": arguments.warm_up, "reference": REFERENCE}
    empty: dict[str, Any] = {"versions": {}, "not_run": {}, "rows": []}
    return {"machine": machine, "settings": settings, "arms": names, **empty}


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


def free_gib() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable")) / 2**20


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
