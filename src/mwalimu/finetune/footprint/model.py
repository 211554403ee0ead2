"""A decoder of the Llama kind as memory sees it: sizes, and in how many bytes its numbers are.

Letters in formulas: L layers, H hidden, I inner width of the MLP, Q and K widths of all query and
all key heads, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from mwalimu.registry.shape import Shape

FLOAT32, BFLOAT16 = 4, 2  # bytes

# What the families of transformers do otherwise, by `model_type`.
_FUSED = {"phi3"}
_GEMMA = {"gemma", "gemma2", "gemma3_text"}
_FOUR_NORMS = {"gemma2", "gemma3_text"}
_HEAD_NORMS = {"qwen3", "gemma3_text"}
_QKV_BIAS = {"qwen2"}
_CAPPED = {"gemma2"}


class Precision(NamedTuple):
    """Bytes a number: of weights that are frozen or learn, of what matrices multiply, and of the
    hidden states between the layers."""

    frozen: int
    learned: int
    compute: int
    stream: int
    autocast: bool


class Matrix(NamedTuple):
    part: Literal["attention", "mlp"]
    inputs: int
    outputs: int

    @property
    def numbers(self) -> int:
        return self.inputs * self.outputs


class Norm(NamedTuple):
    """`heads` are its groups of numbers, with one root mean square each; `arrives` is in bytes."""

    size: int
    heads: int
    arrives: int


@dataclass(frozen=True)
class Model:
    shape: Shape
    precision: Precision

    @property
    def hidden(self) -> int:
        return self.shape.hidden_size

    @property
    def inner(self) -> int:
        return self.shape.intermediate_size

    @property
    def heads(self) -> int:
        return self.shape.num_attention_heads

    @property
    def queries(self) -> int:
        return self.heads * self.shape.head_dim

    @property
    def keys(self) -> int:
        return self.shape.num_key_value_heads * self.shape.head_dim

    @property
    def vocabulary_numbers(self) -> int:
        """V H: of the embeddings, and of a head of its own."""
        return self.shape.vocab_size * self.hidden

    @property
    def fused(self) -> bool:
        """One matrix for queries, keys and values, and one for gate and up."""
        return self.shape.model_type in _FUSED

    @property
    def wide_norms(self) -> bool:
        """Gemma's norms multiply by their weight in float32."""
        return self.shape.model_type in _GEMMA

    @property
    def capped(self) -> bool:
        """Scores and logits go through tanh, for which attention holds its T x T scores."""
        return self.shape.model_type in _CAPPED

    @cached_property
    def matrices(self) -> dict[str, Matrix]:
        """Of one layer, by name."""
        if self.fused:
            reads = {"qkv_proj": self.queries + 2 * self.keys}
            gates = {"gate_up_proj": 2 * self.inner}
        else:
            reads = {"q_proj": self.queries, "k_proj": self.keys, "v_proj": self.keys}
            gates = {"gate_proj": self.inner, "up_proj": self.inner}
        return {
            **{name: Matrix("attention", self.hidden, size) for name, size in reads.items()},
            "o_proj": Matrix("attention", self.queries, self.hidden),
            **{name: Matrix("mlp", self.hidden, size) for name, size in gates.items()},
            "down_proj": Matrix("mlp", self.inner, self.hidden),
        }

    @cached_property
    def norms(self) -> list[Norm]:
        """Of one layer."""
        stream, compute = self.precision.stream, self.precision.compute
        norms = [Norm(self.hidden, 1, stream)] * 2
        if self.shape.model_type in _FOUR_NORMS:
            norms += [Norm(self.hidden, 1, compute)] * 2
        if self.shape.model_type in _HEAD_NORMS:
            counts = self.heads, self.shape.num_key_value_heads
            norms += [Norm(count * self.shape.head_dim, count, compute) for count in counts]
        return norms

    @property
    def bias_numbers(self) -> int:
        return self.queries + 2 * self.keys if self.shape.model_type in _QKV_BIAS else 0


def frozen_model(shape: Shape, dtype: str, device: str) -> Model:
    """A model that is only asked, as `data.loading` loads it: on a GPU in its files' `dtype`."""
    half = device == "cuda" and dtype in ("bfloat16", "float16")
    size = BFLOAT16 if half else FLOAT32
    return Model(shape, Precision(size, size, size, size, autocast=False))
