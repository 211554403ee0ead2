"""Test questions through the cascade itself: `python benchmarks/serving/live_cascade.py RUN`.

RUN is an evaluated run folder. The student's answers and confidences are those of the evaluation;
what is below the threshold is asked of the run's own teacher, as the server would ask. Printed are
what became of the answers, and how many are right, beside what the curve says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from mwalimu.config import Config, load_config
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.data.traffic import read_traffic
from mwalimu.evaluation.tasks.own import load_tasks
from mwalimu.run import Run
from mwalimu.serving.calibration import STUDENT, graded, threshold
from mwalimu.serving.cascade import CascadeOptions, open_cascade
from mwalimu.serving.completion import Completion

AT_ONCE = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--below", default="auto")
    parser.add_argument("--rows", type=int, default=None)
    arguments = parser.parse_args()
    run = Run(arguments.run)
    config = load_config(run.path("config.yaml"))
    below = threshold(arguments.below, run, print)
    assert config.data.test is not None
    records = load_records(config.data.test, task=config.task, split="test")
    lines = run.path("evaluate", "predictions", f"{STUDENT}.jsonl").read_bytes().splitlines()
    pairs = list(zip(records, map(json.loads, lines), strict=False))[: arguments.rows]
    with tempfile.TemporaryDirectory() as folder:
        scores = asyncio.run(live(config, below, pairs, Path(folder)))
        traffic = sum(1 for _ in read_traffic(Path(folder), task=config.task, note=print))
    expected = graded(run).served(below)[: len(pairs)].mean()
    print(f"{sum(scores) / len(scores):.3f} right, by the curve {expected:.3f}")
    print(f"{traffic} questions kept for the next round")


async def live(
    config: Config, below: float, pairs: list[tuple[Record, dict[str, Any]]], folder: Path
) -> list[float]:
    tasks = load_tasks(None)
    turns = asyncio.Semaphore(AT_ONCE)
    options = CascadeOptions(below=below, timeout_s=600, traffic=folder)
    async with open_cascade(config, options, print) as cascade:

        async def served(record: Record, row: dict[str, Any]) -> float:
            sure = row["confidence"] or 0.0
            student = Completion([0], row["prediction"], "stop", [math.log(max(sure, 1e-300))])
            messages = [message.to_json() for message in record.messages]
            async with turns:
                found = await cascade.second(messages, student, max_tokens=1024)
            text = row["prediction"] if found is None else found.text
            return tasks[record.task].score(text, record.reference or "")

        began = time.perf_counter()
        scores = await asyncio.gather(*(served(*pair) for pair in pairs))
        seconds = time.perf_counter() - began
        print(f"{dict(cascade.counts)} in {seconds:.1f} s, ${cascade.spent_usd:.2f}")
        return list(scores)


if __name__ == "__main__":
    main()
