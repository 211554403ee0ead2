"""What Ray adds and what it costs: nodes against a latency-bound teacher, overhead against none.

    python benchmarks/scale/ray_speed.py --out speed.json

1. Throughput at 1, 2 and 4 nodes, one worker each with `--places` requests in flight, against mock
   teachers that answer after each of `--latency-ms`; as a share of so many times one node's. Rates
   are those of the teacher's own ledger, a line through its middle three fifths.
2. Overhead: seconds of the driver's cores and of the wall per answer, with a teacher that answers
   at once, without Ray and with one worker, in turns. A worker's own seconds are not among them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from nodes import Job, Nodes, scale_of
from processes import MockTeacher
from tools import job_yaml

from mwalimu.config import build_config
from mwalimu.data.record import Message, Record
from mwalimu.run import Run
from mwalimu.scale.teacher import builder_of
from mwalimu.synthesis.generate import generate

SECONDS = 8  # of a run's answers, at least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[200.0, 1000.0])
    parser.add_argument("--rounds", type=int, default=1, help="of which medians are told")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--n", type=int, default=1000, help="rows of the smaller overhead run")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with Nodes(max(args.nodes)) as nodes:
        found = {part: PARTS[part](nodes, args) for part in args.parts}
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def throughput(nodes: Nodes, args: argparse.Namespace) -> dict[str, dict[int, float]]:
    return {f"{ms:g} ms": linear(nodes, args, ms) for ms in args.latency_ms}


def linear(nodes: Nodes, args: argparse.Namespace, latency_ms: float) -> dict[int, float]:
    """Answers a second by the number of nodes."""
    rates: dict[int, list[float]] = {count: [] for count in args.nodes}
    each = max(12, round(SECONDS * 1000 / latency_ms))  # answers at each place
    for _ in range(args.rounds):
        for count in args.nodes:
            scale, rows = scale_of(nodes, count), each * count * args.places
            rates[count].append(rate_of(rows, latency_ms, args.places, scale))
    medians = {count: statistics.median(found) for count, found in rates.items()}
    one = medians[args.nodes[0]] / args.nodes[0]
    for count, rate in medians.items():
        print(
            f"{count} nodes, {args.places} in flight each, {latency_ms:.0f} ms: "
            f"{rate:.1f} answers/s, {rate / (count * one):.3f} of linear; all: "
            f"{', '.join(f'{found:.1f}' for found in rates[count])}",
            flush=True,
        )
    return medians


def overhead(nodes: Nodes, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """In this process, by the slope between n and 3 n rows, which holds no start."""
    ways: dict[str, Any] = {"local": "local", "ray": yaml.safe_load(scale_of(nodes, 1))}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(args.rounds + 1):
        for way, scale in ways.items():
            small, large = driven(args.n, scale), driven(3 * args.n, scale)
            slope = [(b - a) / (2 * args.n) for a, b in zip(small, large, strict=True)]
            if number:  # the first round only warms up
                found[way].append((slope[0], slope[1]))
    medians = {
        way: {
            "driver_us": 1e6 * statistics.median(cpu for cpu, _ in seen),
            "wall_us": 1e6 * statistics.median(wall for _, wall in seen),
        }
        for way, seen in found.items()
    }
    for way, one in medians.items():
        print(
            f"{way}: {one['driver_us']:.0f} us of the driver's core an answer, "
            f"{one['wall_us']:.0f} us of the wall with 64 in flight",
            flush=True,
        )
    return medians


def driven(rows: int, scale: Any) -> tuple[float, float]:
    """Seconds of this process's cores and of the wall, of stage 1 over so many rows."""
    with MockTeacher(0.0) as teacher, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = yaml.safe_load(job_yaml(teacher.url, 64)) | {"scale": scale}
        config = build_config(raw, base=folder)
        prompts = [Record(f"r{i}", "generic", (Message("user", f"q{i}"),)) for i in range(rows)]
        cpu, wall = time.process_time(), time.perf_counter()
        generate(
            config,
            Run(folder / "run"),
            folder / "answers",
            prompts,
            None,
            stage_fingerprint="",
            on_progress=lambda *_: None,
            build=builder_of(config.scale),
        )
        return time.process_time() - cpu, time.perf_counter() - wall


def rate_of(rows: int, latency_ms: float, places: int, scale: str) -> float:
    """Answers a second."""
    with MockTeacher(latency_ms) as teacher, tempfile.TemporaryDirectory() as name:
        job = Job(Path(name) / "job", rows, teacher.url, places, scale)
        job.prepare()
        if job.start().wait(600.0):
            raise SystemExit(job.log())
        times = sorted(teacher.ledger()[1])
        middle = times[rows // 5 : rows - rows // 5]
        return statistics.linear_regression(middle, range(len(middle))).slope


PARTS = {"throughput": throughput, "overhead": overhead}


if __name__ == "__main__":
    main()
