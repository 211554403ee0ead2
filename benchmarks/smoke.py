"""Do the benchmarks still run? Each in its smallest form, which takes seconds; no figure counts.

    python benchmarks/smoke.py [--only generation,serving] [--jobs 2]

A line a script: passed, FAILED with the end of what it said, or skipped with what it needs.
The exit code is 1 if one failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
QUICKSTART = ROOT / "src" / "mwalimu" / "quickstart"
LIMIT_S = 300
SHOWN_LINES = 15

SMALL = {
    "curation/generated.py": "--out {out}/rows.jsonl --rows 300 --test-rows 30",
    "curation/million.py": "--rows 500 --test-rows 50",
    "curation/noisy_teacher.py": "--rows 24 --test 8 --visits 24 --seeds 1",
    "data/synthesis.py": "--prompts 20 40",
    "distill/decode.py": "--rows 4 --length 8 --rounds 1",
    "distill/measure.py": "step --small --arms ours-sft-fused --rounds 1 --warm-up 0",
    "evaluation/coverage.py": "--rows 20 --runs 10",
    "evaluation/generation.py": "--rows 2 --repeats 1",
    "finetune/speed.py": "--arms ours-padded --case quickstart --rounds 1 --warm-up 0",
    "generation/measure.py": "wrong --tools ours --n 20",
    "house.py": "",
    "quickstart_picture.py": "--stream {out}/stream --out {out}/picture.svg",
    "scale/capacity.py": "--n 60 --in-flight 8",
    "scale/ray_speed.py": "--parts overhead --nodes 1 --n 20",
    "scale/rows.py": "--rows 100 200",
    "service/answers.py": "--jobs 40 --streams 2 --asked 2",
    "service/store.py": "--jobs 20 --times 3 --reports 5",
    "service/workers.py": "--jobs 2",
    "serving/long_prompts.py": "{student} --lengths 40 --rounds 1",
    "serving/slots.py": "{student} --slots 2 --tokens 4 --rounds 1",
    "serving/soak.py": "{student} --minutes 0.05",
    "serving/starting.py": "{student} --rounds 1 --requests 2",
    "serving/throughput.py": "{student} --clients 1 2 --requests 4 --tokens 4 --rounds 1",
    "start_up.py": "--rounds 1",
    "telemetry/engine.py": "--rows 20 --rounds 1",
    "tuning/tuned.py": "--out {out} --tasks nli --trials 2 --repeats 2 --train 20 --held-out 10 "
    "--epochs 1",
}
"""What each script is told. `{out}` is an empty folder, `{student}` the shipped one."""

PACKAGES = {
    "quickstart_picture.py": "pyte",
    "scale/ray_speed.py": "ray",
    "tuning/tuned.py": "optuna",
}
"""What is skipped where such a package is not installed."""

BUSY = "The current node timed out during startup"
"""Ray's own words where it did not start in 30 seconds, which it cannot be told to wait longer."""

_ROWS = "real data sets: --data FOLDER"
_RUN = "an evaluated run folder"
_MINUTES = "minutes: "
LEFT_OUT = {
    "banking77.py": _ROWS,
    "buying/measure.py": f"{_MINUTES}a training and a grading a round",
    "buying/summary.py": "what buying/measure.py has found over more than one size",
    "buying/words.py": _ROWS,
    "curation/false_alarms.py": _ROWS,
    "curation/personal.py": _ROWS,
    "curation/real.py": _ROWS,
    "curation/selection.py": _ROWS,
    "data/formats.py": _ROWS,
    "data/similar_prompts.py": _ROWS,
    "distill/quality.py": _ROWS,
    "distill/triton_speed.py": "a CUDA device",
    "export/fewer_bits.py": _RUN,
    "export/finishing.py": _RUN,
    "export/web.py": "a trained student, npm and Chromium",
    "finetune/memory.py": f"{_MINUTES}its smallest case is a whole training",
    "finetune/pruned_starts.py": f"{_MINUTES}it compares six students",
    "scale/ray_chaos.py": f"{_MINUTES}pytest tests/scale has a short form",
    "service/dashboard.py": "Chromium",
    "serving/cascade.py": _RUN,
    "serving/formats.py": _RUN,
    "serving/live_cascade.py": _RUN,
    "serving/next_round.py": f"{_MINUTES}two rounds of the quickstart",
    "trust/__main__.py": "nothing: its short form is a part of 'make test'",
    "trust/sbom.py": "nothing: 'make test' holds what it writes",
}
"""What is never run here, and what it needs."""


@dataclass(frozen=True)
class Outcome:
    name: str
    state: str  # passed, FAILED, skipped
    told: str


def run(name: str) -> Outcome:
    """One script in its smallest form, in a process and a folder of its own."""
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        return Outcome(name, "skipped", f"needs the package {package}")
    with tempfile.TemporaryDirectory() as out:
        (Path(out) / "stream").write_bytes(b"\x1b[1mmwalimu\x1b[0m\r\n")
        words = SMALL[name].format(out=out, student=QUICKSTART / "student").split()
        return _ended(name, [sys.executable, str(HERE / name), *words])


def _ended(name: str, command: list[str]) -> Outcome:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _path()}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return Outcome(name, "FAILED", f"still runs after {LIMIT_S} s")
    took = f"{time.monotonic() - began:.1f} s"
    if done.returncode and BUSY in done.stdout:
        return Outcome(name, "skipped", "needs a machine that is less busy: Ray did not start")
    if done.returncode:
        end = "\n    ".join(done.stdout.splitlines()[-SHOWN_LINES:])
        return Outcome(name, "FAILED", f"{took}, exit code {done.returncode}\n    {end}")
    return Outcome(name, "passed", took)


def _path() -> str:
    """The package of this tree, and `benchmarks` itself for the scripts that import it."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(ROOT / "src"), str(ROOT), *([given] if given else [])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scripts whose names have one of these words")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time")
    options = parser.parse_args()
    words = options.only.split(",")
    began, counts = time.monotonic(), {"passed": 0, "skipped": 0, "FAILED": 0}
    outcomes = [Outcome(name, "skipped", f"needs {what}") for name, what in LEFT_OUT.items()]
    with ThreadPoolExecutor(options.jobs) as pool:
        chosen = [name for name in SMALL if any(word in name for word in words)]
        ended = (future.result() for future in as_completed(pool.submit(run, n) for n in chosen))
        for outcome in chain(ended, outcomes):
            counts[outcome.state] += 1
            print(f"{outcome.state:<8} {outcome.name:<28} {outcome.told}", flush=True)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"{told} in {time.monotonic() - began:.0f} s")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
