"""A student's size and memory, out of the numbers that its config.json has.

Counted for decoders of the Llama kind, which all students of the registry are: attention with keys
and values shared by groups of heads, a gated MLP, RMS norms.

Memory is that of weights, gradients and optimiser, in bytes; activations come on top.
"""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

ADAM_BYTES = 16  # float32 weight, gradient and two moments, of a parameter that is trained
HALF_BYTES = 2  # bfloat16
# Of a frozen matrix, by its bits. 4: QLoRA, arXiv 2305.14314, section 3, has 0.127 bits a weight
# for its doubly quantised scales; 8: one scale a row is next to nothing.
FROZEN_BYTES = {16: HALF_BYTES, 8: 1.0, 4: (4 + 0.127) / 8}
ADAPTER_RANK = 16  # as student.lora_rank is where nothing is set

# What the families of transformers add to the common form, by `model_type`.
_QKV_BIAS = {"qwen2"}
_QK_NORMS = {"qwen3", "gemma3_text"}
_FOUR_NORMS = {"gemma2", "gemma3_text"}  # before and after attention and MLP
_FUSED = {"phi3"}  # one matrix for queries, keys and values, one for gate and up


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Shape:
    """Named as in config.json, so that it can be copied from there."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool

    @property
    def parameters(self) -> int:
        """Of the whole model; a tied head counts once."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        norms = 4 if self.model_type in _FOUR_NORMS else 2
        layer = self.linear_parameters + norms * self.hidden_size
        layer += self._queries + 2 * self._keys if self.model_type in _QKV_BIAS else 0
        layer += 2 * self.head_dim if self.model_type in _QK_NORMS else 0
        return embeddings + self.num_hidden_layers * layer + self.hidden_size

    @property
    def linear_parameters(self) -> int:
        """Of one layer's matrices."""
        return sum(rows * columns for rows, columns in self._matrices)

    def adapter_parameters(self, rank: int = ADAPTER_RANK) -> int:
        """Of LoRA on every matrix of the layers: rank times the sum of its two sides."""
        return self.num_hidden_layers * rank * sum(map(sum, self._matrices))

    @property
    def full_bytes(self) -> int:
        return ADAM_BYTES * self.parameters

    def adapted_bytes(self, bits: int = 16, rank: int = ADAPTER_RANK) -> float:
        """Of an adapter on a frozen base; embeddings, norms and head stay in bfloat16."""
        matrices = self.num_hidden_layers * self.linear_parameters
        frozen = FROZEN_BYTES[bits] * matrices + HALF_BYTES * (self.parameters - matrices)
        return frozen + ADAM_BYTES * self.adapter_parameters(rank)

    @property
    def _queries(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def _keys(self) -> int:
        return self.num_key_value_heads * self.head_dim

    @property
    def _matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the matrices of one layer."""
        hidden, inner = self.hidden_size, self.intermediate_size
        reads = [self._queries, self._keys, self._keys]
        gates = [inner, inner]
        if self.model_type in _FUSED:
            reads, gates = [sum(reads)], [sum(gates)]
        into = [(hidden, outputs) for outputs in (*reads, *gates)]
        return [*into, (self._queries, hidden), (inner, hidden)]
