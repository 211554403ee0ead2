"""What watching costs the engine: processor time an answer, with nothing on and with each thing.

    python benchmarks/telemetry/engine.py --rows 4000 --rounds 7 [--before DIR]

Stage 1 over a teacher that answers at once, each life in a process of its own, the modes in turn so
that a busy machine is unfair to none. `--before` is the src folder of another version, which is
measured with nothing on. Traces go to a collector in a thread of another process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIFE = """
import json, sys, time
from pathlib import Path
from mwalimu.config import build_config
from mwalimu.data.record import Message, Record
from mwalimu.run import Run
from mwalimu.synthesis.generate import generate
from mwalimu.teachers.base import Capabilities, Completion, Reply, TeacherInfo, Usage

rows, mode = int(sys.argv[1]), sys.argv[2]


class AtOnce:
    info, capabilities = TeacherInfo("tiny", "scripted"), Capabilities()
    batch_size, concurrency = 1, 64

    async def check(self): ...
    async def close(self): ...
    async def send(self, requests):
        return [Reply(b"an answer") for _ in requests]

    def parse(self, raw):
        return Completion(raw.decode(), "stop", Usage(7, 3), "tiny")


if mode != "before":
    from mwalimu.telemetry import setting_up

    setting_up.begin(metrics_file=Path("m.prom") if mode in ("metrics", "all") else None)
config = build_config(
    {"task": "generic", "data": {"train": "x"}, "teacher": {"model": "fake"},
     "student": {"model": "none"}, "generate": {"deduplicate": False}}, base=Path("."))
records = [Record(f"r{n}", "generic", (Message("user", f"q {n}"),)) for n in range(rows)]
began = time.process_time()
generate(config, Run(Path("run")), Path("store"), records, None, stage_fingerprint="x",
         on_progress=lambda *_: None, teacher=AtOnce())
print(json.dumps((time.process_time() - began) / rows * 1e6))
"""
MODES = {
    "nothing": {},
    "log": {"MWALIMU_LOG": "log.jsonl"},
    "metrics": {},
    "traces": {"OTEL_EXPORTER_OTLP_ENDPOINT": "<URL>"},
    "all": {"MWALIMU_LOG": "log.jsonl", "OTEL_EXPORTER_OTLP_ENDPOINT": "<URL>"},
}
COLLECTOR = (
    "import time\nfrom tests.telemetry.collector import collector\n"
    "with collector() as found:\n    print(found.url, flush=True)\n    time.sleep(3600)\n"
)


def life(rows: int, mode: str, url: str, source: Path) -> float:
    """Microseconds an answer."""
    env = {name: value.replace("<URL>", url) for name, value in MODES.get(mode, {}).items()}
    path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", LIFE, str(rows), mode],
            cwd=folder,
            env={**os.environ, **env, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            check=True,
        )
    return float(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--before", type=Path, help="the src folder of another version")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    options = parser.parse_args()
    modes = (["before"] if options.before else []) + options.modes
    found: dict[str, list[float]] = {mode: [] for mode in modes}
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert collector.stdout
    try:
        url = collector.stdout.readline().strip()
        for number in range(options.rounds):
            for mode in modes if number % 2 else reversed(modes):
                source = options.before.resolve() if mode == "before" else ROOT / "src"
                found[mode].append(life(options.rows, mode, url, source))
    finally:
        collector.kill()
        collector.wait()
    print(f"{'':10}{'median':>9}{'least':>9}  microseconds of processor time an answer")
    for mode, values in found.items():
        print(f"{mode:10}{statistics.median(values):9.1f}{min(values):9.1f}")


if __name__ == "__main__":
    main()
