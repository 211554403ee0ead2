"""Tokens a second and peak memory of whole training loops: ours, transformers', TRL's.

    python benchmarks/distill/measure.py install --venvs DIR
    python benchmarks/finetune/speed.py --venvs DIR --case short --rounds 5 --out results.json

Each arm trains in a process of its own and is let go on for some optimiser steps at a time; a round
is that of every arm, in an order of its own, and ratios are within a round. The table goes to
stdout, progress to stderr, every round to the JSON of --out. See README.md here.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "distill"))

from environments import Failed, Worker, absent  # noqa: E402
from goals import by_round, ratios  # noqa: E402
from measure import cpu, free_gib, tell  # noqa: E402
from speed_cases import ARMS, CASES, CPU_CASES, Case  # noqa: E402
from table import spread  # noqa: E402

from mwalimu.finetune.watching.flops import PEAKS  # noqa: E402

REFERENCE = "ours-packed"


def main() -> None:
    arguments = parse()
    results = []
    for name in arguments.case.split(","):
        results.append(measured(name, arguments))
        print(rendered(results[-1]), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venvs", type=Path, help="folder with the other tools' environment")
    parser.add_argument("--case", default=",".join(CPU_CASES), help="[default: %(default)s]")
    parser.add_argument("--arms", default=",".join(n for n in ARMS if n != "trl-liger"))
    parser.add_argument("--rounds", type=int, default=5, help="[default: %(default)s]")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds that do not count")
    parser.add_argument("--threads", type=int, default=1, help="of torch [default: %(default)s]")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--limit", type=float, default=900, help="seconds to load, and for a round")
    parser.add_argument("--out", type=Path, help="JSON of every round")
    arguments = parser.parse_args()
    if unknown := set(arguments.case.split(",")) - CASES.keys():
        parser.error(f"unknown case {min(unknown)}; known: {', '.join(CASES)}")
    if unknown := set(arguments.arms.split(",")) - ARMS.keys():
        parser.error(f"unknown arm {min(unknown)}; known: {', '.join(ARMS)}")
    return arguments


def measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    case = CASES[name]
    results: dict[str, Any] = {
        "case": name,
        "arms": arguments.arms.split(","),
        "machine": {"cpu": cpu(), "memory free": f"{free_gib():.0f} GiB"},
        "versions": {},
        "not_run": {},
        "rows": [],
    }
    with tempfile.TemporaryDirectory(prefix="finetune-speed-") as scratch:
        given = {
            "case": name,
            "threads": arguments.threads,
            # One round more: a trainer that is through with its steps would end.
            "steps": case.steps * (arguments.rounds + arguments.warm_up + 1),
        }
        (Path(scratch) / "facts.json").write_text(json.dumps(given), "utf-8")
        workers = start(arguments, Path(scratch), results)
        try:
            for number in range(1 - arguments.warm_up, arguments.rounds + 1):
                one_round(number, workers, results)
        finally:
            for worker in workers.values():
                worker.close()
    return results


def start(
    arguments: argparse.Namespace, scratch: Path, results: dict[str, Any]
) -> dict[str, Worker]:
    workers = {}
    for name in results["arms"]:
        why = absent(ARMS[name], arguments.venvs)
        if not why:
            try:
                workers[name] = Worker(
                    ARMS[name],
                    arguments.venvs,
                    scratch,
                    arguments.device,
                    arguments.limit,
                    HERE / "speed_worker.py",
                )
            except Failed as failure:
                why = f"{failure}; {tail(scratch / f'{name}.log')}"
        if why:
            results["not_run"][name] = why
        else:
            facts = workers[name].facts
            results["versions"] |= facts["versions"]
            results["machine"]["device"] = facts["device"]
            results["flops_per_token"] = facts.get("flops_per_token", 0) or results.get(
                "flops_per_token", 0
            )
        tell(f"{results['case']}, {name}: {why or 'ready'}")
    return workers


def one_round(number: int, workers: dict[str, Worker], results: dict[str, Any]) -> None:
    """Up to round 0 it is warming up."""
    order = [name for name in workers if name not in results["not_run"]]
    random.Random(number).shuffle(order)
    for name in order:
        try:
            found = workers[name].step()
        except Failed as failure:
            results["not_run"][name] = str(failure)
            tell(f"round {number}, {name}: {failure}")
            continue
        tell(f"round {number}, {name}: {1 / found['seconds']:,.0f} tokens/s")
        if number > 0:
            results["rows"].append({"arm": name, "round": number} | found)


def rendered(results: dict[str, Any]) -> str:
    """Markdown; ratios are of speeds, ours over the other's."""
    case, rows = CASES[results["case"]], results["rows"]
    lines = [
        f"**{results['case']}**: {told(case)}; "
        + "; ".join(f"{key}: {value}" for key, value in results["machine"].items()),
        "- "
        + ", ".join(f"{name} {number}" for name, number in sorted(results["versions"].items())),
        "",
        "| arm | | tokens/s | ours is faster by | by CPU time | peak, MiB | loss | MFU |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for arm in results["arms"]:
        seconds = by_round(rows, arm, "seconds").values()
        if not seconds:
            lines.append(f"| {arm} | not run: {results['not_run'].get(arm)} | | | | | | |")
            continue
        cells = (
            spread([1 / x for x in seconds], ",.0f"),
            spread(ratios(rows, arm, REFERENCE, "seconds"), ".2f"),
            spread(ratios(rows, arm, REFERENCE, "cpu"), ".2f"),
            spread(by_round(rows, arm, "peak_mib").values(), ",.0f"),
            f"{next(row['loss'] for row in rows if row['arm'] == arm):.2f}",
            utilisation(results, median(seconds)),
        )
        lines.append(f"| {arm} | {ARMS[arm].what} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def told(case: Case) -> str:
    lengths = f"{case.shortest} to {case.longest}"
    if case.shortest == case.longest:
        lengths = str(case.longest)
    return (
        f"{case.shape} parameters, {case.method}, {case.rows} rows a step of {lengths} tokens, "
        f"{case.answer:.0%} of them learned"
    )


def utilisation(results: dict[str, Any], seconds_per_token: float) -> str:
    """Of a GPU that is known, by the operations that our objective needs."""
    peak = next((p for n, p in PEAKS.items() if n in results["machine"]["device"]), None)
    if peak is None or not results.get("flops_per_token"):
        return ""
    return f"{results['flops_per_token'] / seconds_per_token / peak:.1%}"


def tail(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else "its log is empty"


if __name__ == "__main__":
    main()
