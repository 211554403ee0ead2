"""What the next round learns from traffic: `python benchmarks/serving/next_round.py --dir DIR`.

The quickstart's world, smaller: a first round; a stream of new questions, which the first student
answers and of which the cascade hands on what it doubts; then two second rounds, one with that
traffic, one with as many questions of the stream taken by chance. Printed are the students' scores
on the same test rows, and what the second rounds had to buy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from pathlib import Path
from typing import Any

from mwalimu.config import Config, load_config
from mwalimu.data.readers import to_record
from mwalimu.data.record import Record
from mwalimu.data.traffic import read_traffic
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.reading import read_texts
from mwalimu.pipeline import Pipeline
from mwalimu.quickstart.job import split_rows, write_job, write_jsonl
from mwalimu.serving.calibration import threshold
from mwalimu.serving.cascade import CascadeOptions, open_cascade
from mwalimu.serving.completion import Completion

STREAM_SEED = 1  # of questions that no round has seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--stream", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    folder: Path = arguments.dir
    rows = {"train": arguments.rows, "validation": 100, "test": 600, "labelled": 10}
    path = write_job(folder, rows=rows)
    settings = [
        f"finetune.epochs={arguments.epochs}",
        "evaluate.arms=[teacher, distilled]",
        "finetune.save_every=100000",
    ]
    first = done(load_config(path, settings), folder, "first")
    stream = split_rows("train", arguments.rows + arguments.stream, STREAM_SEED)[arguments.rows :]
    below = threshold("auto", first.run, print)
    asyncio.run(serve(first, stream, below, folder / "traffic"))
    doubted = list(read_traffic(folder / "traffic", task="generic", note=print))
    chance = random.Random(0).sample(stream, len(doubted))
    train = split_rows("train", arguments.rows, 0)
    write_jsonl(folder / "data" / "chance.jsonl", [*train, *renamed(chance)])
    done(load_config(path, [*settings, f"data.traffic={folder / 'traffic'}"]), folder, "doubted")
    done(load_config(path, [*settings, "data.train=data/chance.jsonl"]), folder, "chance")


def renamed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"id": f"stream-{row['id']}"} for row in rows]


def done(config: Config, folder: Path, name: str) -> Pipeline:
    """A whole run; its scores are printed."""
    pipeline = Pipeline(config, folder / name, store=folder / "answers")
    summary = pipeline.execute()
    ledger = json.loads(pipeline.run.path("generate", "ledger.json").read_bytes())
    student = summary["arms"][-1]["accuracy"]
    print(
        f"{name}: {ledger['outcomes'].get('ok', 0)} rows learned, {ledger['requests_sent']} asked, "
        f"{ledger['answers_reused']} known; student {student['mean']:.1%} "
        f"[{student['low']:.1%}, {student['high']:.1%}]",
        flush=True,
    )
    return pipeline


async def serve(first: Pipeline, stream: list[dict[str, Any]], below: float, folder: Path) -> None:
    """The first student's answers to the stream, through the cascade."""
    records = [to_record(row, task="generic", default_id=row["id"]) for row in stream]
    options = CascadeOptions(below=below, timeout_s=600, traffic=folder)
    async with open_cascade(first.config, options, print) as cascade:
        for record, answer in zip(records, answered(first, records), strict=True):
            messages = [message.to_json() for message in record.messages]
            await cascade.second(messages, answer, max_tokens=1024)
        print(f"stream of {len(stream)}: {dict(cascade.counts)}", flush=True)


def answered(first: Pipeline, records: list[Record]) -> list[Completion]:
    student = load_answerer(
        first.run.path("finetune", "student"), max_tokens=64, trust_remote_code=False
    )
    answers = student.answer_all(student.encode(records), batch_size=128, on_batch=lambda _: None)
    read = read_texts(student, records, [answer.text for answer in answers])
    return [
        Completion([], a.text, "stop" if a.stopped and r else "length", [r.log_prob if r else 0.0])
        for a, r in zip(answers, read, strict=True)
    ]


if __name__ == "__main__":
    main()
