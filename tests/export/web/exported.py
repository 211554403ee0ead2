"""A tiny student with a chat's tokens, exported, and what Python's own runtime answers with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.config import Precision, TargetConfig
from mwalimu.data.tokenize import encode_prompt
from mwalimu.export.make import make
from mwalimu.runtimes import read_export
from tests.families.families import qwen_tokenizer
from tests.families.templates import QWEN2
from tests.tiny import make_tiny_model

CONTEXT = 224
Chat = list[dict[str, str]]


def make_student(folder: Path) -> Path:
    """It has opinions, but no sense; answers end where its context does, if not before."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = QWEN2
    make_tiny_model(folder, spread=0.3, hidden=64, tokenizer=tokenizer)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = CONTEXT
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def export(student: Path, folder: Path, precision: Precision) -> Path:
    make(student, folder, TargetConfig(to="web", precision=precision))
    return folder


def answer(folder: Path, chat: Chat) -> tuple[list[int], str]:
    """The ids and the text of the likeliest answer, by ONNX Runtime in Python."""
    import onnxruntime
    from transformers import AutoTokenizer

    made = read_export(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(folder / made.weights)
    settings = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
    empty = np.zeros((1, settings["num_key_value_heads"], 0, settings["head_size"]), np.float32)
    feeds: dict[str, Any] = {
        one.name: empty for one in session.get_inputs() if one.name.startswith("past_key_values.")
    }
    outputs = [one.name for one in session.get_outputs()]
    ids = encode_prompt(tokenizer, chat)
    start, new = len(ids), ids
    while len(ids) < made.context:
        feeds["input_ids"] = np.array([new], dtype=np.int64)
        feeds["attention_mask"] = np.ones((1, len(ids)), dtype=np.int64)
        logits, *present = session.run(None, feeds)
        for name, value in zip(outputs[1:], present, strict=True):
            feeds[name.replace("present.", "past_key_values.")] = value
        new = [int(logits[0, -1].argmax())]
        ids = [*ids, *new]
        if new[0] in made.ends:
            break
    spoken = ids[start:-1] if ids[-1] in made.ends else ids[start:]
    return ids[start:], tokenizer.decode(spoken, skip_special_tokens=True)
