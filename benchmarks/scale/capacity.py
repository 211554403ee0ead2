"""What stage 1 can do, and what holds it back: unit costs measured here, a model, two checks of it.

    python benchmarks/scale/capacity.py --out capacity.json

1. Unit costs of an answer: `mwalimu generate` over N and 4 N rows against the mock teacher; the
   slope of its CPU seconds, of its files and of its memory. Even CPU seconds want a quiet machine.
2. The model (model.py) against a simulation (simulation.py), which shares none of its mathematics,
   and against whole runs at several numbers of answers in flight.
3. The same costs carried to other sizes: these rows are reckoned, not measured, and say so. With
   `--reckon` alone, from unit costs that were measured before, or by ray_speed.py; `--usd` are a
   teacher's prices of a million tokens in and out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from bench import write_prompts
from model import Costs, Site, capacity
from processes import Client, MockTeacher
from simulation import simulate
from tools import PROMPTS, TOOLS

OURS = TOOLS["ours"]
LATENCY_S = 0.2
DAY = 86_400
PROMPT_TOKENS, ANSWER_TOKENS = 400, 600  # of the rows that are carried to other sizes
SIZES = (1, 10, 100)  # nodes
TOKENS = 1e9


@dataclass(frozen=True)
class Seen:
    """Of one run: answers a second by the teacher's own ledger; the rest is the client's."""

    answers_s: float
    cpu_s: float
    peak_mib: float
    stored: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4000, help="rows of the smaller run")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[32, 64, 128, 512])
    parser.add_argument("--reckon", type=float, nargs=3, metavar=("US", "STORED", "KEPT"))
    parser.add_argument("--usd", type=float, nargs=2, metavar=("IN", "OUT"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.reckon:
        driver_us, stored, kept = args.reckon
        costs = Costs(driver_us / 1e6, 0.0, LATENCY_S, stored, kept, 0.0, 1.0)
    else:
        costs = unit_costs(args.n)
    found = {
        "costs": asdict(costs),
        "checks": [check(costs, places) for places in args.in_flight if not args.reckon],
        "reckoned": reckoned(costs, args.usd),
    }
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def unit_costs(n: int) -> Costs:
    small, large = run(n, 0.0, 64), run(4 * n, 0.0, 64)
    costs = Costs(
        driver_s=(large.cpu_s - small.cpu_s) / (3 * n),
        node_s=0.0,
        latency_s=LATENCY_S,
        stored=(large.stored - small.stored) / (3 * n),
        kept=(large.peak_mib - small.peak_mib) * 2**20 / (3 * n),
        prompt_tokens=0.0,
        answer_tokens=1.0,
    )
    print(
        f"an answer costs {costs.driver_s * 1e6:.0f} us of the driver's core, "
        f"{costs.stored:.0f} bytes on disk, {costs.kept:.0f} bytes of memory"
    )
    return costs


def check(costs: Costs, in_flight: int) -> dict[str, Any]:
    site = Site(nodes=1, in_flight=in_flight)
    reckoned_s = capacity(costs, site).answers_s
    played = simulate(costs, site, answers=60 * in_flight, spread=0.0).answers_s
    seen = run(40 * in_flight, LATENCY_S, in_flight).answers_s
    row = {"in_flight": in_flight, "model": reckoned_s, "simulated": played, "measured": seen}
    print(
        f"{in_flight} in flight at {LATENCY_S * 1000:.0f} ms: model {reckoned_s:.0f}/s, "
        f"simulation {played / reckoned_s:.3f} and measured {seen / reckoned_s:.3f} of it"
    )
    return row


def reckoned(costs: Costs, usd: list[float] | None) -> list[dict[str, Any]]:
    """A billion tokens of a real teacher's answers: 10 s each, 64 in flight a node, no quota."""
    real = replace(costs, latency_s=10.0, prompt_tokens=PROMPT_TOKENS, answer_tokens=ANSWER_TOKENS)
    answers = TOKENS / ANSWER_TOKENS
    rows = []
    for nodes in SIZES:
        for quota in (float("inf"), 10_000.0):
            able = capacity(real, Site(nodes, 64, requests_per_minute=quota))
            row = {
                "nodes": nodes,
                "requests_per_minute": None if quota == float("inf") else quota,
                "answers_s": able.answers_s,
                "tokens_s": able.answers_s * ANSWER_TOKENS,
                "days": answers / able.answers_s / DAY,
                "stored_gb": answers * costs.stored / 1e9,
                "memory_gb": answers * costs.kept / 1e9,
                "usd": price(answers, usd),
                "bottleneck": able.bottleneck,
            }
            rows.append(row)
            print(
                f"reckoned, {nodes} nodes, quota {row['requests_per_minute'] or 'none'}: "
                f"{row['answers_s']:.0f} answers/s, {row['tokens_s']:,.0f} tokens/s, "
                f"1e9 tokens in {row['days']:.2f} days, "
                f"{row['stored_gb']:.1f} GB stored; held by {row['bottleneck']}"
            )
    if usd:
        print(f"reckoned, at any size: ${price(answers, usd):,.0f} for the teacher's tokens")
    return rows


def price(answers: float, usd: list[float] | None) -> float | None:
    """In dollars; `usd` are those of a million tokens in and out, unknown where it is None."""
    if usd is None:
        return None
    return answers * (PROMPT_TOKENS * usd[0] + ANSWER_TOKENS * usd[1]) / 1e6


def run(n: int, latency_s: float, in_flight: int) -> Seen:
    with MockTeacher(1000 * latency_s) as teacher, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / PROMPTS, n, -1)
        OURS.prepare(folder, teacher.url, in_flight)
        client = Client(OURS.command(None, teacher.url, in_flight), folder)
        cpu_s = peak = 0.0
        while client.running():
            cpu_s = max(cpu_s, client.cpu_s())
            peak = max(peak, client.memory()[0])
            time.sleep(0.02)
        if client.wait(60.0):
            raise SystemExit((folder / "log.txt").read_text(encoding="utf-8")[-2000:])
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != PROMPTS)
        stored = sum(path.stat().st_size for path in files)
        times = sorted(teacher.ledger()[1])
        middle = times[n // 5 : n - n // 5]  # neither the start nor the rest at the end
        rate = (len(middle) - 1) / (middle[-1] - middle[0])
        return Seen(rate, cpu_s, peak, stored)


if __name__ == "__main__":
    main()
