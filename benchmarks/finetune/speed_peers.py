"""transformers' Trainer and TRL's SFTTrainer, made as their users make them.

Settings that are no defaults: the fused AdamW, that of mwalimu; no gradient checkpointing, which
TRL turns on; no checkpoints. Tokens are counted where a batch comes in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from peers.trl import tokenizer
from speed_work import OPTIMISER, model_of, rows_of
from transformers import (
    DataCollatorForSeq2Seq,
    DataCollatorWithFlattening,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

IGNORED = -100


def hf_padded(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    _hugging_face(gate, facts, steps, folder, DataCollatorForSeq2Seq(tokenizer()))


def hf_grouped(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    """Rows of about one length share a batch."""
    grouped = {"train_sampling_strategy": "group_by_length"}
    collator = DataCollatorForSeq2Seq(tokenizer())
    _hugging_face(gate, facts, steps, folder, collator, **grouped)


def hf_flat(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    """All rows of a batch in one line, told apart by their position ids."""
    _hugging_face(gate, facts, steps, folder, DataCollatorWithFlattening())


def trl_padded(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    _trl(gate, facts, steps, folder, per_device_train_batch_size=gate.case.rows)


def trl_packed(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    """A step is one line with as many tokens as the others' rows have together."""
    packing = {"packing": True, "max_length": gate.case.tokens}
    _trl(gate, facts, steps, folder, per_device_train_batch_size=1, **packing)


def trl_liger(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    packing = {"packing": True, "max_length": gate.case.tokens, "use_liger_kernel": True}
    _trl(gate, facts, steps, folder, per_device_train_batch_size=1, **packing)


def _hugging_face(
    gate: Any, facts: dict[str, Any], steps: int, folder: Path, collator: Any, **settings: Any
) -> None:
    rows = [
        {"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]}
        for ids, prompt in rows_of(gate.case, steps)
    ]
    arguments = TrainingArguments(
        per_device_train_batch_size=gate.case.rows, **_arguments(gate, steps, folder), **settings
    )
    trainer = Trainer(
        model=model_of(gate.case, gate.device),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=collator,
    )
    _run(trainer, gate, facts)


def _trl(gate: Any, facts: dict[str, Any], steps: int, folder: Path, **settings: Any) -> None:
    rows = [
        {"input_ids": ids, "completion_mask": [0] * prompt + [1] * (len(ids) - prompt)}
        for ids, prompt in rows_of(gate.case, steps)
    ]
    arguments = SFTConfig(**_arguments(gate, steps, folder) | settings)
    trainer = SFTTrainer(
        model=model_of(gate.case, gate.device),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(),
    )
    _run(trainer, gate, facts)


def _arguments(gate: Any, steps: int, folder: Path) -> dict[str, Any]:
    cuda = gate.device.type == "cuda"
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "optim": "adamw_torch_fused",
        "gradient_checkpointing": False,
        "bf16": cuda,
        "use_cpu": not cuda,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        **OPTIMISER,
    }


def _run(trainer: Any, gate: Any, facts: dict[str, Any]) -> None:
    step = trainer.training_step

    def counted(model: Any, inputs: dict[str, Any], *others: Any, **more: Any) -> Any:
        mask = inputs.get("attention_mask")
        tokens = inputs["input_ids"].numel() if mask is None else mask.sum()
        loss = step(model, inputs, *others, **more)
        gate.count(tokens, loss)
        return loss

    trainer.training_step = counted
    trainer.add_callback(Passing(gate))
    gate.open(facts)
    trainer.train()


class Passing(TrainerCallback):
    def __init__(self, gate: Any) -> None:
        self.gate = gate

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.gate.passed()
