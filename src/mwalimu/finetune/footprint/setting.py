"""What the memory of a training depends on: the model, what of it learns, and how long rows are.

Letters in formulas: P places of a forward pass, padding included; T tokens of its longest row; N
target tokens of the pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.config.student import LAYERS
from mwalimu.finetune.footprint.model import BFLOAT16, FLOAT32, Model, Precision
from mwalimu.registry.shape import Shape

ADAPTER = FLOAT32  # peft keeps adapters in float32 over a base of any precision

Device = Literal["cpu", "cuda"]


class Learns(NamedTuple):
    """Which of a layer's own weights learn, adapters aside."""

    norms: bool
    attention: bool
    mlp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """In tokens: of the longest row, of what it learns, and of all rows together.

    `alike`: all rows of a forward pass are of one length. `fullest` are the tokens of the largest
    batch, where they are known; else it could be as long rows as the longest.
    """

    longest: int
    targets: int
    all: int = 0
    alike: bool = False
    fullest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`teacher` is a live one; of one that is cached there are `cached` bytes a target token."""

    shape: Shape
    student: StudentConfig
    finetune: FinetuneConfig
    lengths: Lengths
    device: Device = "cpu"
    validates: bool = True
    teacher: Model | None = None
    cached: float = 0.0

    @cached_property
    def model(self) -> Model:
        """Precisions as `finetune.student.loading` chooses them."""
        learned = BFLOAT16 if self.student.dtype == "bfloat16" else FLOAT32
        frozen = BFLOAT16 if self.student.adapts and self.autocast else learned
        stream = learned if self.embeddings_learn else frozen
        compute = BFLOAT16 if self.autocast else frozen
        return Model(self.shape, Precision(frozen, learned, compute, stream, self.autocast))

    @property
    def autocast(self) -> bool:
        return self.student.dtype == "auto" and self.device == "cuda"

    @property
    def precision(self) -> Precision:
        return self.model.precision

    @property
    def places(self) -> int:
        """P: the longest rows of a step together, packed or not."""
        settings = self.finetune
        if settings.tokens_per_pass is None:
            return self.lengths.fullest or settings.batch_size * self.lengths.longest
        return max(self.lengths.longest, min(settings.tokens_per_pass, self._step))

    @property
    def passes(self) -> int:
        """Of an optimiser step."""
        settings = self.finetune
        bounded = settings.tokens_per_pass is not None
        return math.ceil(self._step / self.places) if bounded else settings.accumulation

    @property
    def targets(self) -> int:
        """N"""
        return self.places * self.lengths.targets // self.lengths.longest

    @property
    def _step(self) -> int:
        """Tokens of a step, if all its rows were as long as the longest."""
        return self.finetune.batch_size * self.finetune.accumulation * self.lengths.longest

    @property
    def line(self) -> int:
        """Places that have positions of their own: those of a row, or of a line of packed rows."""
        packed = self.finetune.packing != "off" and not self.lengths.alike
        return self.places if packed else self.lengths.longest

    @property
    def output_held(self) -> bool:
        """Whether what attention keeps of its output is what the next matrix reads, not a copy.

        Blocks of a line are put together anew. Phi's queries are heads first, and so is what comes
        of them, unless packing has put them in order.
        """
        if self.model.capped:
            return False
        if self.finetune.packing == "off":
            return not self.model.fused
        return self.device == "cuda" or self.lengths.alike

    @property
    def checkpointing(self) -> bool:
        return self.finetune.activation_checkpointing == "on"

    @property
    def trims(self) -> bool:
        """Whether the last layer's MLP runs on target tokens alone."""
        return not self.finetune.compile

    def adapted(self, name: str) -> bool:
        targets = self.student.lora_targets
        return self.student.adapts and (not targets or name in targets)

    @property
    def dora(self) -> bool:
        return self.student.method == "dora"

    @cached_property
    def layers(self) -> tuple[Learns, ...]:
        return tuple(self._learns(index) for index in range(self.shape.num_hidden_layers))

    @property
    def embeddings_learn(self) -> bool:
        return self._learns_outside("embeddings", "head")

    @property
    def head_learns(self) -> bool:
        return self._learns_outside("head", "embeddings")

    @property
    def last_norm_learns(self) -> bool:
        return self._learns_outside("norms", "norms")

    @cached_property
    def first(self) -> int:
        """The lowest layer that the backward pass goes through; those below keep nothing."""
        if self.embeddings_learn or self.student.adapts:
            return 0
        return next((i for i, learns in enumerate(self.layers) if any(learns)), len(self.layers))

    def _learns_outside(self, name: str, tied_to: str) -> bool:
        """Of what is outside the layers; embeddings and head may be one matrix."""
        names = {name, tied_to} if self.shape.tie_word_embeddings else {name}
        if self.student.adapts:
            return bool(names & set(self.student.unfreeze))
        return not names & set(self.student.freeze)

    def _learns(self, index: int) -> Learns:
        if self.student.adapts:
            return Learns("norms" in self.student.unfreeze, False, False)
        frozen = set(self.student.freeze)
        if index in set(_frozen_layers(self.student)):
            return Learns(False, False, False)
        return Learns(*(part not in frozen for part in Learns._fields))


def _frozen_layers(student: StudentConfig) -> Iterator[int]:
    for name in student.freeze:
        if found := LAYERS.fullmatch(name):
            yield from range(int(found[1]), int(found[2] or found[1]) + 1)
