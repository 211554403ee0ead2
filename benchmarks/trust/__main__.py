"""`python -m benchmarks.trust`: runs the tests of every figure and writes docs/trust.md.

What was run before on the same commit is not run again; a figure that was not run says so. What was
found is kept in docs/trust.json, so that one figure can be run on another day or machine. Two run
at a time, those first that took longest: most of a figure is one process after another. With
--short the short forms, those of `make test`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.trust.page import page
from benchmarks.trust.table import FIGURES, Figure

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="figures, with commas: R1,R9")
    parser.add_argument("--short", action="store_true", help="as many tries as in `make test`")
    parser.add_argument("--again", action="store_true", help="also what was run on this commit")
    parser.add_argument("--lanes", type=int, default=2, help="how many figures run at a time")
    parser.add_argument("--kept", type=Path, default=ROOT / "docs" / "trust.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "trust.md")
    asked = parser.parse_args()
    results = json.loads(asked.kept.read_bytes()) if asked.kept.exists() else {}
    wanted = {one.number for one in FIGURES}
    wanted &= set(asked.only.split(",")) if asked.only else wanted
    version = {"commit": commit(), "short": asked.short}
    figures = to_run(wanted, results, version, again=asked.again)
    for figure, found in run(figures, lanes=asked.lanes, short=asked.short):
        results[figure.number] = found | version
        asked.kept.parent.mkdir(parents=True, exist_ok=True)
        asked.kept.write_text(json.dumps(in_order(results), indent=1) + "\n")
        asked.out.write_text(page(FIGURES, results), encoding="utf-8")
        state = "FAILED" if not found["passed"] else "passed" if found["ran"] else "not run"
        print(f"{figure.number}: {state} in {found['seconds']:.0f} s", flush=True)
    failed = [number for number in wanted if not results.get(number, {}).get("passed", True)]
    sys.exit(f"failed: {', '.join(sorted(failed))}" if failed else 0)


def to_run(
    wanted: Collection[str],
    results: Mapping[str, Mapping[str, Any]],
    version: Mapping[str, Any],
    *,
    again: bool,
) -> list[Figure]:
    """The longest first, by what each took last; one that never ran may be the longest of all."""
    again = again or not str(version["commit"]).isalnum()  # changed, or unknown: any version

    def is_fresh(figure: Figure) -> bool:
        done = results.get(figure.number, {})
        return all(done.get(key) == value for key, value in version.items())

    figures = [one for one in FIGURES if one.number in wanted and (again or not is_fresh(one))]
    seconds = {number: found["seconds"] for number, found in results.items()}
    return sorted(figures, key=lambda one: -seconds.get(one.number, math.inf))


def run(
    figures: Sequence[Figure], *, lanes: int, short: bool
) -> Iterator[tuple[Figure, dict[str, Any]]]:
    """Each with what was found, as it ends."""
    with ThreadPoolExecutor(lanes) as pool:
        running = {pool.submit(tried, one, short=short): one for one in figures}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        except BaseException:  # Ctrl-C ended those that run; the others do not begin
            pool.shutdown(cancel_futures=True)
            raise


def in_order(results: Mapping[str, Any]) -> dict[str, Any]:
    return {one.number: results[one.number] for one in FIGURES if one.number in results}


def tried(figure: Figure, *, short: bool) -> dict[str, Any]:
    """What the figure's tests recorded, whether all passed, and the last lines if not."""
    lines = ROOT / "build" / f"figure-{figure.number}.jsonl"
    lines.parent.mkdir(exist_ok=True)
    lines.unlink(missing_ok=True)
    env = os.environ | {"MWALIMU_FIGURES": str(lines)} | ({} if short else {"MWALIMU_LONG": "1"})
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-o", "faulthandler_timeout=0"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, *figure.tests], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    found = lines.read_text().splitlines() if lines.exists() else []
    recorded = summed(line for line in map(json.loads, found) if line["figure"] == figure.number)
    said = done.stdout.strip().splitlines()
    return {
        "passed": done.returncode == 0,
        "skipped": sorted({line.split(": ", 1)[-1] for line in said if line.startswith("SKIPPED")}),
        "ran": "passed" in said[-1] or "failed" in said[-1] if said else False,
        "seconds": time.monotonic() - began,
        "recorded": recorded,
        "tests": said[-1:],
        "said": [] if done.returncode == 0 else done.stdout.splitlines()[-15:],
    }


def summed(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines that differ in their counts alone become one."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in lines:
        kept = found.setdefault(
            (line["what"], line["seed"], line["note"]), line | {"tried": 0, "failed": 0}
        )
        for count in ("tried", "failed"):
            kept[count] += line[count]
    return list(found.values())


def commit(root: Path = ROOT) -> str:
    """With a plus where something is not committed; what this command writes is not asked."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        ).stdout.strip()

    changed = git("status", "--porcelain", "-uno", "--", ".", ":!docs/trust.*")
    named = git("rev-parse", "--short=10", "HEAD")
    return named + "+" * bool(changed) if named else "(unknown)"


if __name__ == "__main__":
    main()
