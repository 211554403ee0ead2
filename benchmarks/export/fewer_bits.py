"""Finishing under harsher roundings than any target has: what an epoch of it gives back.

    python benchmarks/export/fewer_bits.py RUN --out DIR --bits 3 --epochs 1 --rate 0.00025

RUN is a trained run whose config names test rows; it is only read. Every matrix is rounded to
`--bits` in blocks of 32, as ONNX Runtime's RTN would. Accuracy is of the first `--rows` test rows,
answered by transformers with the rounded weights written out.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mwalimu.config import Config, ExportFinishConfig, load_config
from mwalimu.data.batched_generation import Answer
from mwalimu.data.dataset import load_records
from mwalimu.data.tokenize import encode_prompt, ending_ids, prepare_tokenizer
from mwalimu.evaluation.statistics import mean_interval
from mwalimu.evaluation.tasks.own import load_tasks
from mwalimu.export.matrices import Rounding
from mwalimu.export.rounding_onnx import nearest
from mwalimu.finetune.finishing import finish_student
from mwalimu.run import Run
from mwalimu.runtimes import load_decoder
from mwalimu.runtimes.generation import greedy
from mwalimu.shipping.grading import graded_rows, with_text


def of_all(model: Any, bits: int) -> dict[str, Rounding]:
    kinds = (torch.nn.Linear, torch.nn.Embedding)
    return {name: nearest(bits) for name, m in model.named_modules() if isinstance(m, kinds)}


def written_out(student: Path, folder: Path, bits: int) -> Path:
    """The student with rounded weights, as a plain folder."""
    model = AutoModelForCausalLM.from_pretrained(student)
    with torch.no_grad():
        rounded = {
            name: rounding(model.get_submodule(name).weight)
            for name, rounding in of_all(model, bits).items()
        }
        for name, weight in rounded.items():
            model.get_submodule(name).weight.copy_(weight)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(student).save_pretrained(folder)
    return folder


def accuracy(config: Config, folder: Path, rows: int) -> str:
    assert config.data.test is not None
    test = load_records(config.data.test, task=config.task, split="test")[:rows]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prepare_tokenizer(tokenizer)
    model_ends = AutoModelForCausalLM.from_pretrained(folder).generation_config
    ends = sorted(ending_ids(model_ends, tokenizer))
    prompts = [encode_prompt(tokenizer, row.messages, row.tools) for row in test]
    decoder = load_decoder(folder, slots=16, threads=None)
    found = greedy(decoder, prompts, ends=ends, max_tokens=config.evaluate.max_tokens)
    answers = [Answer("", len(ids), ids[-1] in ends, ids=tuple(ids)) for ids in found]
    spoken = [with_text(tokenizer, answer, ends) for answer in answers]
    graded = graded_rows(config, load_tasks(config.evaluate.tasks_file), test, spoken)
    mean, low, high = mean_interval([row["score"] for row in graded], draws=2000, seed=0)
    return f"{100 * mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {len(test)} test rows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bits", type=int, nargs="+", default=[3])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--rows", type=int, default=600)
    asked = parser.parse_args()
    config, run = load_config(asked.run / "config.yaml"), Run(asked.run)
    student = run.path("finetune", "student")
    settings = ExportFinishConfig(epochs=asked.epochs, learning_rate=asked.rate)

    def trained(folder: Path, roundings: Any, label: str) -> dict[str, Any]:
        return finish_student(
            config,
            run,
            settings,
            student,
            folder,
            roundings,
            stage_fingerprint=label,
            on_progress=lambda *call: None,
            label="finish",
        )

    print(f"float32: {accuracy(config, student, asked.rows)}", flush=True)
    control = asked.out / "unrounded"
    trained(control, lambda model: {}, "control")
    for bits in asked.bits:
        folder = asked.out / f"bits-{bits}"
        before = written_out(student, folder / "before", bits)
        print(f"{bits} bits: {accuracy(config, before, asked.rows)}", flush=True)
        more = written_out(control / "student", folder / "control", bits)
        print(f"  after as much training without rounding: {accuracy(config, more, asked.rows)}")
        summary = trained(folder, partial(of_all, bits=bits), f"{bits} bits")
        after = written_out(folder / "student", folder / "after", bits)
        losses = f"{summary['validation_loss_before']:.4f} to {summary['validation_loss']:.4f}"
        print(f"  finished: {accuracy(config, after, asked.rows)}; validation loss {losses}")


if __name__ == "__main__":
    main()
