"""What Ray adds and what it costs: nodes against a latency-bound teacher, overhead against none.

    python benchmarks/scale/ray_speed.py --out speed.json

1. Throughput at 1, 2 and 4 nodes, one worker each with `--places` requests in flight, against a
   mock teacher that answers after `--latency-ms`; as a share of so many times one node's.
2. Overhead: seconds of the driver's core and of the wall per answer, with a teacher that answers at
   once, without Ray and with one worker, in turns.

Rates are those of the teacher's own ledger, without the start and the rest at the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nodes import Job, Nodes, scale_of
from processes import MockTeacher


@dataclass(frozen=True)
class Seen:
    """`cpu_s` is the driver's own, start and all."""

    answers_s: float
    cpu_s: float
    digest: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--n", type=int, default=2000, help="rows of the smaller overhead run")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with Nodes(max(args.nodes)) as nodes:
        found = {part: PARTS[part](nodes, args) for part in args.parts}
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def throughput(nodes: Nodes, args: argparse.Namespace) -> dict[int, float]:
    rates: dict[int, list[float]] = {count: [] for count in args.nodes}
    for _ in range(args.rounds):
        for count in args.nodes:
            rows = 60 * count * args.places
            seen = run(rows, args.latency_ms, args.places, scale_of(nodes, count))
            rates[count].append(seen.answers_s)
    medians = {count: statistics.median(found) for count, found in rates.items()}
    one = medians[args.nodes[0]] / args.nodes[0]
    for count, rate in medians.items():
        print(
            f"{count} nodes, {args.places} in flight each, {args.latency_ms:.0f} ms: "
            f"{rate:.1f} answers/s, {rate / (count * one):.3f} of linear; all: "
            f"{', '.join(f'{found:.1f}' for found in rates[count])}",
            flush=True,
        )
    return medians


def overhead(nodes: Nodes, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By the slope between n and 3 n rows, which holds no start."""
    n = args.n
    ways = {"local": "", "ray": scale_of(nodes, 1)}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, scale in ways.items():
            small, large = run(n, 0.0, 64, scale), run(3 * n, 0.0, 64, scale)
            found[way].append(((large.cpu_s - small.cpu_s) / (2 * n), large.answers_s))
    medians = {
        way: {
            "driver_us": 1e6 * statistics.median(cpu for cpu, _ in seen),
            "answers_s": statistics.median(rate for _, rate in seen),
        }
        for way, seen in found.items()
    }
    for way, one in medians.items():
        print(
            f"{way}: {one['driver_us']:.0f} us of the driver's core an answer, at most "
            f"{one['answers_s']:.0f} answers/s with 64 in flight",
            flush=True,
        )
    return medians


def run(rows: int, latency_ms: float, places: int, scale: str) -> Seen:
    with MockTeacher(latency_ms) as teacher, tempfile.TemporaryDirectory() as name:
        job = Job(Path(name) / "job", rows, teacher.url, places, scale)
        job.prepare()
        client, cpu_s = job.start(), 0.0
        while client.running():
            cpu_s = max(cpu_s, client.cpu_s())
            time.sleep(0.02)
        if client.wait(60.0):
            raise SystemExit(job.log())
        times = sorted(teacher.ledger()[1])
        middle = times[rows // 5 : rows - rows // 5]
        rate = (len(middle) - 1) / (middle[-1] - middle[0])
        return Seen(rate, cpu_s, job.digest())


PARTS = {"throughput": throughput, "overhead": overhead}


if __name__ == "__main__":
    main()
