"""The teacher: the quickstart's, taught longer conversations, grown to twelve blocks, taught on.

Behind each of its four blocks come two copies whose output projections are zero, so the grown
model says at first exactly what the small one says (LLaMA Pro, arXiv 2401.02415); then all of it
learns from gold answers. That costs a third of teaching twelve blocks from the start.
"""

from __future__ import annotations

import copy
from importlib.resources import files
from pathlib import Path
from typing import Any

from conversations import VERSION, generate_conversations

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.progress import Progress

COPIES = 2
CONTEXT = 256
SMALL_ROWS, GROWN_ROWS, VALIDATION_ROWS = 36_000, 8_000, 300
SETTINGS = FinetuneConfig(
    learning_rate=1e-3,
    batch_size=16,
    epochs=1,
    warmup_ratio=0.03,
    weight_decay=0.1,
    adam_beta2=0.98,
    save_every=100,
)


def shipped(name: str) -> Path:
    """The folder of the quickstart's `teacher`, or its `student`: a base that has read records."""
    return Path(str(files("mwalimu.quickstart") / name))


def teach(folder: Path, share: float, on_progress: Progress) -> Path:
    """Trains the teacher under `folder` on `share` of its rows; returns its model folder.

    Stopped and called again, it goes on where it was.
    """
    small, grown = round(SMALL_ROWS * share), round(GROWN_ROWS * share)
    rows = generate_conversations("teacher", small + grown)
    start = _train(shipped("teacher"), rows[:small], folder / "small", on_progress)
    if not (folder / "grown" / "tokenizer.json").exists():
        grow(start, folder / "grown")
    return _train(folder / "grown", rows[small:], folder / "taught", on_progress)


def _train(start: Path, rows: list[dict[str, Any]], folder: Path, on_progress: Progress) -> Path:
    from mwalimu.finetune.finetune import train_student

    train_student(
        StudentConfig(model=str(start), method="full", max_length=CONTEXT, dtype="float32"),
        SETTINGS,
        rows,
        generate_conversations("validation", VALIDATION_ROWS),
        folder,
        seed=0,
        stage_fingerprint=f"conversations {VERSION}",
        on_progress=on_progress,
        label=f"teacher, {folder.name}",
    )
    return folder / "student"


def grow(source: Path, folder: Path, *, copies: int = COPIES) -> None:
    """Writes into `folder` a model that computes the same as `source`, with more blocks."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    blocks: Any = torch.nn.ModuleList()
    for block in model.model.layers:
        blocks.append(block)
        blocks.extend(_silent(copy.deepcopy(block)) for _ in range(copies))
    for index, block in enumerate(blocks):
        block.self_attn.layer_idx = index
    model.model.layers = blocks
    model.config.num_hidden_layers = len(blocks)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def _silent(block: Any) -> Any:
    """The block adds nothing to what goes through it until it has learned to."""
    import torch

    with torch.no_grad():
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
    return block
