"""What every arm works on: the same student, teacher, rows and cached targets.

The files of the weights are mapped, so that all processes share one copy: no arm changes them.

Shapes: B rows, T tokens, N target tokens, K entries a token, V vocabulary.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

STUDENT, TEACHER, BATCH, FACTS = (
    "student.safetensors",
    "teacher.safetensors",
    "batch.safetensors",
    "facts.json",
)
IGNORED = -100  # a label without loss, by transformers' convention


@dataclass(frozen=True)
class Shape:
    """Of a model; embeddings are tied."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int

    def config(self, vocabulary: int) -> Qwen2Config:
        return Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            tie_word_embeddings=True,
            max_position_embeddings=4096,
        )


@dataclass(frozen=True)
class Size:
    """The first `prompt` of a row's `length` tokens have no loss.

    A cache keeps of each other token `draws` of the teacher, or the `best`.
    """

    vocabulary: int
    student: Shape
    teacher: Shape
    rows: int = 2
    length: int = 512
    prompt: int = 256
    draws: int = 12
    best: int = 64

    @property
    def num_targets(self) -> int:
        return self.rows * (self.length - self.prompt)

    def positions_N(self) -> torch.Tensor:
        """Of the states that predict the targets, in the flattened rows."""
        starts = torch.arange(self.rows)[:, None] * self.length
        return (starts + torch.arange(self.prompt - 1, self.length - 1)).flatten()


SIZES = {
    # A Qwen2-0.5B with 4 of its 24 layers, and a teacher of 0.85 billion parameters.
    "full": Size(151_936, Shape(896, 4864, 4, 14, 2), Shape(2048, 9472, 8, 16, 2)),
    "small": Size(4_096, Shape(64, 160, 2, 4, 4), Shape(128, 320, 2, 4, 4), 2, 64, 32, 12, 16),
}


@dataclass(frozen=True)
class Workload:
    size: Size
    device: torch.device
    student: Qwen2ForCausalLM
    folder: Path
    ids_BT: torch.Tensor
    sampled_ids_NK: torch.Tensor
    sampled_weight_NK: torch.Tensor
    best_ids_NK: torch.Tensor
    best_logp_NK: torch.Tensor
    tail_N: torch.Tensor

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Workload:
        size = SIZES[json.loads((folder / FACTS).read_text("utf-8"))["size"]]
        student = load_model(size.student.config(size.vocabulary), folder / STUDENT, device)
        tensors = {name: x.to(device) for name, x in load_file(folder / BATCH).items()}
        return cls(size, device, student.train(), folder, **tensors)

    def teacher(self) -> Qwen2ForCausalLM:
        """Frozen. Only for the arms that have a live one."""
        config = self.size.teacher.config(self.size.vocabulary)
        model = load_model(config, self.folder / TEACHER, self.device)
        return model.eval().requires_grad_(False)

    @cached_property
    def mask_BT(self) -> torch.Tensor:
        """No row is padded."""
        return torch.ones_like(self.ids_BT)

    @cached_property
    def labels_BT(self) -> torch.Tensor:
        labels_BT = self.ids_BT.clone()
        labels_BT[:, : self.size.prompt] = IGNORED
        return labels_BT

    @cached_property
    def labels_N(self) -> torch.Tensor:
        return self.ids_BT[:, self.size.prompt :].flatten()

    @cached_property
    def positions_N(self) -> torch.Tensor:
        return self.size.positions_N().to(self.device)


def load_model(config: Qwen2Config, path: Path, device: torch.device) -> Qwen2ForCausalLM:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    model.load_state_dict(load_file(path), strict=False, assign=True)
    model.tie_weights()
    model.model.rotary_emb = Qwen2RotaryEmbedding(config)  # its buffers are in no file
    for parameter in model.parameters():
        parameter.detach().sum()  # brings it into memory now, so that no step is charged with it
    return model.to(device)


def facts(size: str, dtype: str) -> dict[str, Any]:
    return {"size": size, "dtype": dtype, **asdict(SIZES[size])}
