"""What the tutorial's sample takes for granted: a large teacher behind an address, a small student,
rows of conversations, and a registry in which both have their names.

The teacher is the one that ships, behind a real HTTP server. The student is a copy of it that has
been told not to begin an answer with "A", which most of its answers about returns do. The rate of
the tutorial is meant for a model of billions of weights: so that it teaches one of a million
something, the copy's residual stream is a part of the original's, which changes no answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from mwalimu.quickstart.rows import generate_rows
from mwalimu.quickstart.world import Split
from tests.model_server import ModelServer

TEACHER = Path(str(files("mwalimu.quickstart"))) / "teacher"
SMALLER = 30
BEHIND = 1.5  # nats by which the best wrong beginning is ahead
CONTEXT = 1024  # so that the 512 tokens which an evaluation lets a model write fit in
LONGEST = 64  # tokens of an answer: the shipped models hold 256 in all


class Teacher(ModelServer):
    models = ("deepseek-v3",)
    longest = LONGEST

    def __init__(self) -> None:
        super().__init__(TEACHER, key="")
        self.key = None


def conversations(split: Split, count: int) -> list[dict[str, Any]]:
    rows = generate_rows(split, count * 10, 0)
    return [row for row in rows if row["task"] == "conversation"][:count]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_registry(folder: Path, *, teacher_url: str, student: Path) -> None:
    """What the owner of the service has to write: only they can give a name to a folder."""
    shape = json.loads((student / "config.json").read_text())
    known = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    heads = ("num_attention_heads", "num_key_value_heads", "head_dim", "tie_word_embeddings")
    entries = {
        "models": {
            "deepseek-v3": {
                "family": "DeepSeek",
                "licence": "mit",
                "context": CONTEXT,
                "routes": [
                    {
                        "name": "here",
                        "kind": "openai_compatible",
                        "base_url": teacher_url,
                        "model": "deepseek-v3",
                    }
                ],
            }
        },
        "students": {
            "phi-4-mini": {
                "family": "Phi",
                "licence": "mit",
                "context": CONTEXT,
                "weights": str(student),
                "shape": {key: shape[key] for key in (*known, *heads)},
            }
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.yaml").write_text(yaml.safe_dump(entries))


def make_student(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Answers of `rows` that begin with "A" show where it has to be held back."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(TEACHER)
    tokenizer = AutoTokenizer.from_pretrained(TEACHER)
    (begin,) = tokenizer("A", add_special_tokens=False).input_ids
    turns = [row["messages"] for row in rows if row["messages"][-1]["content"].startswith("A ")]
    with torch.no_grad():
        model.model.embed_tokens.weight.div_(SMALLER)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.div_(SMALLER)
            layer.mlp.down_proj.weight.div_(SMALLER)
        states = torch.stack([_state(model, tokenizer, turn[:-1]) for turn in turns])
        logits = states @ model.lm_head.weight.T
        own = logits[:, begin].clone()
        logits[:, begin] = -torch.inf
        ahead = (logits.max(dim=1).values - own).median()
        mean = states.mean(dim=0)
        model.lm_head.weight[begin] -= (BEHIND - ahead) * mean / mean.dot(mean)
    model.config.max_position_embeddings = CONTEXT
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _state(model: Any, tokenizer: Any, messages: list[dict[str, str]]) -> Any:
    """The last hidden state before an answer begins."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    return model.model(ids).last_hidden_state[0, -1]
