"""Stage 1 against a bare HTTP client and against other tools, on one mock teacher.

    python benchmarks/generation/measure.py install --venvs DIR
    python benchmarks/generation/measure.py all --venvs DIR --out results.json

The table goes to stdout, progress to stderr, every run to the JSON of --out. See README.md here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import crash
import memory
import speed
import sustain
import table
import wrong
from bench import Settings, tell
from goals import Section
from processes import cores, pin
from tools import TOOLS, Tool, install

MEASURES = {"speed": speed, "memory": memory, "crash": crash, "wrong": wrong}
# What differs between the measurements: rows, latency, jitter, rounds, seconds a run may take.
DEFAULTS: dict[str, dict[str, Any]] = {
    "sustain": {"n": 50_000, "latency": 0, "jitter": 0, "rounds": 1, "limit": 600},
    "speed": {"n": 50_000, "latency": 0, "jitter": 0, "rounds": 3, "limit": 3600},
    "memory": {"n": 50_000, "latency": 0, "jitter": 0, "rounds": 1, "limit": 3600},
    "crash": {"n": 3_000, "latency": 50, "jitter": 20, "rounds": 3, "limit": 120},
    "wrong": {"n": 200, "latency": 50, "jitter": 20, "rounds": 1, "limit": 300},
}
# `all` is these, one after the other, with what differs from the defaults.
ALL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sustain", {}),
    ("speed", {}),
    ("speed", {"latency": 50, "jitter": 20}),
    ("memory", {}),
    ("crash", {}),
    ("wrong", {}),
)


def main() -> int:
    arguments = parse()
    tools = [TOOLS[name] for name in arguments.tools.split(",")]
    if arguments.command == "install":
        install(tools, arguments.venvs)
        return 0
    if arguments.out:
        arguments.out.write_text("", encoding="utf-8")  # finds a mistyped folder before the hours
    pin(cores()[0])
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="generation-") as scratch:
        results = describe(tools, arguments.venvs, Path(scratch))
        chosen = ALL if arguments.command == "all" else ((arguments.command, {}),)
        for kind, changes in chosen:
            settings = settings_of(kind, changes, arguments, Path(scratch))
            results["sections"].append(section(kind, settings, tools))
            if arguments.out:
                arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table.render(results))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("install", *DEFAULTS, "all"))
    parser.add_argument("--venvs", type=Path, help="folder with the other tools' environments")
    parser.add_argument("--tools", default=",".join(TOOLS), help="[default: %(default)s]")
    parser.add_argument("--n", type=int, help="rows [default: depends on the command]")
    parser.add_argument("--latency", type=float, help="of the teacher, ms")
    parser.add_argument("--jitter", type=float, help="latency is +- this much, ms")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--limit", type=float, help="seconds that a run may take")
    parser.add_argument("--concurrency", type=int, default=64, help="[default: %(default)s]")
    parser.add_argument("--scratch", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--out", type=Path, help="JSON of every run")
    arguments = parser.parse_args()
    if unknown := set(arguments.tools.split(",")) - TOOLS.keys():
        parser.error(f"unknown tool {', '.join(sorted(unknown))}; known: {', '.join(TOOLS)}")
    if arguments.command == "install" and arguments.venvs is None:
        parser.error("install needs --venvs DIR")
    return arguments


def settings_of(
    kind: str, changes: dict[str, Any], arguments: argparse.Namespace, scratch: Path
) -> Settings:
    """The command's defaults, then what `all` varies, then what the user says."""
    said = {key: getattr(arguments, key) for key in DEFAULTS[kind]}
    said = {key: value for key, value in said.items() if value is not None}
    return Settings(
        **(DEFAULTS[kind] | said | changes),
        concurrency=arguments.concurrency,
        venvs=arguments.venvs,
        scratch=scratch,
    )


def section(kind: str, settings: Settings, tools: list[Tool]) -> Section:
    rows = (
        [sustain.measure(settings)]
        if kind == "sustain"
        else MEASURES[kind].measure(settings, tools)
    )
    shown = {key: getattr(settings, key) for key in (*DEFAULTS[kind], "concurrency")}
    return {"kind": kind, "settings": shown, "rows": rows}


def describe(tools: list[Tool], venvs: Path | None, scratch: Path) -> dict[str, Any]:
    server, clients = cores()
    load = os.getloadavg()[0]
    if load > 0.3:
        tell(f"warning: the load is {load:.1f}; other work on this machine changes the figures")
    machine = {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "server on core": sorted(server) or "any",
        "clients on cores": sorted(clients) or "any",
        "load before": round(load, 2),
        "scratch on": filesystem(scratch),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    versions = {
        tool.name: {} if tool.absent(venvs) else tool.versions(venvs and venvs.absolute())
        for tool in tools
    }
    return {"machine": machine, "versions": versions, "sections": []}


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


def filesystem(folder: Path) -> str:
    """Its type: in memory, durable answers would cost nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holding = [m for m in mounts if folder.resolve().is_relative_to(m[0])]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else "unknown"


if __name__ == "__main__":
    sys.exit(main())
