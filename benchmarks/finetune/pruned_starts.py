"""Students pruned out of the quickstart's teacher, beside the same shapes started at random.

python benchmarks/finetune/pruned_starts.py [--steps 100]

Same rows, same order, same optimiser; nats a target token on 200 held-out rows, before and after.
The last line quantises the teacher, untrained: what a base in few bits loses.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.data.collate import collate
from mwalimu.data.quantised import parameter_count, quantise
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.batches import epoch_batches
from mwalimu.finetune.optimiser import build_optimiser
from mwalimu.finetune.rows import encode_splits
from mwalimu.finetune.student import load_student, pruned
from mwalimu.quickstart.rows import generate_rows

TEACHER = str(files("mwalimu.quickstart") / "teacher")
BATCH, LENGTH = 16, 256
CASES: tuple[dict[str, Any], ...] = (
    {"layers": 3, "layers_by": "influence"},
    {"hidden": 144},
    {"layers": 2},
    {"layers": [0, 1]},
    {"hidden": 96, "heads": 4, "intermediate": 256},
)


def loss(model: Any, rows: list[Encoded]) -> torch.Tensor:
    batch = collate(rows, pad_id=0, device=torch.device("cpu"))
    logits_NV = model(input_ids=batch.ids_BT).logits.flatten(0, 1)[batch.positions_N]
    return torch.nn.functional.cross_entropy(logits_NV, batch.labels_N)


@torch.no_grad()
def held_out_loss(model: Any, rows: list[Encoded]) -> float:
    model.eval()
    batches = [rows[start : start + 50] for start in range(0, len(rows), 50)]
    sums = [float(loss(model, batch)) * sum(r.targets for r in batch) for batch in batches]
    return sum(sums) / sum(row.targets for row in rows)


def train(model: Any, rows: list[Encoded], steps: int) -> Any:
    optimiser = build_optimiser(model.named_parameters(), FinetuneConfig(learning_rate=1e-3))
    lengths = [len(row.ids) for row in rows]
    order = epoch_batches(lengths, BATCH, seed=0, epoch=0)[:steps]
    model.train()
    for batch in order:
        loss(model, [rows[i] for i in batch]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    teacher, tokenizer = load_student(StudentConfig(model=TEACHER, method="full"), seed=0)
    raw = generate_rows("train", max(128, BATCH * steps), 0)
    rows, held_out = encode_splits(tokenizer, raw, generate_rows("validation", 200, 0), LENGTH)
    print(
        f"teacher, {parameter_count(teacher):,} parameters: {held_out_loss(teacher, held_out):.4f}"
    )
    print("| kept | layers | parameters | cut, start | cut, trained | random, trained |")
    print("|---|---|--:|--:|--:|--:|")
    for case in CASES:
        config = StudentConfig.model_validate(
            {"model": TEACHER, "method": "full", "prune": case, "max_length": LENGTH}
        )
        with tempfile.TemporaryDirectory() as folder:
            small = pruned(config, raw, Path(folder) / "small", lambda *_: None)
            layers = json.loads((Path(small.model) / "pruned.json").read_bytes())["layers"]
            model, _ = load_student(small, seed=0)
            torch.manual_seed(0)
            chance = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(small.model))
        start = held_out_loss(model, held_out)
        after = held_out_loss(train(model, rows, steps), held_out)
        random = held_out_loss(train(chance, rows, steps), held_out)
        size = parameter_count(model)
        print(
            f"| {case} | {layers} | {size:,} | {start:.3f} | {after:.3f} | {random:.3f} |",
            flush=True,
        )
    for bits in (8, 4):
        model, _ = load_student(StudentConfig(model=TEACHER, method="full"), seed=0)
        quantise(model, bits, torch.device("cpu"))
        print(f"teacher in {bits} bits: {held_out_loss(model, held_out):.4f}", flush=True)


if __name__ == "__main__":
    main()
