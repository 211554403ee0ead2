"""Does the student know what it does not know? `python benchmarks/serving/cascade.py RUN`.

RUN is an evaluated run folder with the arms `teacher` and `student-distilled`. Printed are: how
well each measure of confidence orders right before wrong, over all rows and by task; the share
handed on against what is right; and the threshold that `--below auto` would take. `--tokens` reads
the student's answers again with the student, for the measures that need each token's probability.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.config import load_config
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Message, Record
from mwalimu.data.tokenize import encode_example
from mwalimu.errors import MwalimuError
from mwalimu.evaluation.generate import Answerer, load_answerer
from mwalimu.evaluation.metrics.selective import aurc, auroc
from mwalimu.run import Run
from mwalimu.serving.calibration import STUDENT, calibrated, graded, in_words
from mwalimu.serving.curve import Graded, curve

Row = dict[str, Any]
LogProbs = Sequence[float]

MEASURES: dict[str, Callable[[LogProbs], float]] = {
    "whole answer": lambda found: math.exp(sum(found)),
    "mean token": lambda found: math.exp(sum(found) / len(found)),
    "least token": lambda found: math.exp(min(found)),
    "first token": lambda found: math.exp(found[0]),
}
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--tokens", action="store_true", help="compare the measures")
    parser.add_argument("--margins", type=float, nargs="*", default=[0.005, 0.01, 0.02, 0.05])
    parser.add_argument("--draws", type=int, default=2000)
    arguments = parser.parse_args()
    run = Run(arguments.run)
    found, rows = graded(run), student_rows(run)
    print_lengths(rows)
    if arguments.tokens:
        print_measures(rows, token_log_probs(run, rows))
    print_curve(found, arguments.draws)
    for margin in arguments.margins:
        print(f"margin {margin:.1%}: ", end="")
        try:
            print(in_words(calibrated(run, margin)))
        except MwalimuError as error:
            print(error)


def student_rows(run: Run) -> list[Row]:
    path = run.path("evaluate", "predictions", f"{STUDENT}.jsonl")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def print_lengths(rows: Sequence[Row]) -> None:
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        words = np.mean([len(row["prediction"].split()) for row in own])
        score = np.mean([row["score"] for row in own])
        print(f"{task}: {len(own)} rows, {words:.1f} words an answer, score {score:.3f}")


def token_log_probs(run: Run, rows: Sequence[Row]) -> list[LogProbs]:
    """Of each answer with its end, one row at a time."""
    config = load_config(run.path("config.yaml"))
    assert config.data.test is not None
    records = load_records(config.data.test, task=config.task, split="test")
    answerer = load_answerer(run.path("finetune", "student"), max_tokens=1, trust_remote_code=False)
    return [read(answerer, *pair) for pair in zip(records, rows, strict=False)]


def read(answerer: Answerer, record: Record, row: Row) -> LogProbs:
    import torch

    chat = (*record.messages, Message("assistant", row["prediction"]))
    encoded = encode_example(answerer.tokenizer, chat, record.tools, max_length=answerer.context)
    start = encoded.labels_mask.index(True)
    with torch.inference_mode():
        logits_TV = answerer.model(input_ids=torch.tensor([encoded.ids])).logits[0]
        scores_TV = logits_TV[start - 1 : -1].float().log_softmax(-1)
        taken_T = scores_TV.gather(-1, torch.tensor(encoded.ids[start:])[:, None])
    return [float(score) for score in taken_T[:, 0]]


def print_measures(rows: Sequence[Row], log_probs: Sequence[LogProbs]) -> None:
    """Right is a score above one half. AUROC: more is better; AURC, in points: less is."""
    tasks = dict.fromkeys(row["task"] for row in rows)
    print(f"\n{'AUROC':14s}{'all':>9s}" + "".join(f"{task:>15s}" for task in tasks) + "   AURC")
    pairs = list(zip(rows, log_probs, strict=True))
    for name, measure in MEASURES.items():
        cells = []
        for task in (None, *tasks):
            own = [(row, found) for row, found in pairs if task in (None, row["task"])]
            scores = [row["score"] for row, _ in own]
            cells.append(auroc([measure(found) for _, found in own], scores))
        area = aurc([measure(found) for found in log_probs], [row["score"] for row in rows])
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        line = f"{name:14s}{shown[0]:>9s}" + "".join(f"{cell:>15s}" for cell in shown[1:])
        print(f"{line}  {100 * area:.2f}")


def print_curve(found: Graded, draws: int) -> None:
    print("\nshare   below  right, 95 % interval     less than the teacher, 95 % interval")
    for point in curve(found, SHARES, draws=draws):
        score, gap = point.score, point.difference
        print(
            f"{point.share:5.1%} {point.below:7.4f}  {score.mean:.1%} [{score.low:.1%}, "
            f"{score.high:.1%}]   {gap.mean:+.1%} [{gap.low:+.1%}, {gap.high:+.1%}]"
        )


if __name__ == "__main__":
    main()
