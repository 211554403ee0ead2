"""What a teacher says of one batch: only what the objective asks for is there.

Shapes: N target tokens of the student, M of them that begin a piece of text common to both models'
tokens, H the teacher's hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch

from mwalimu.config import DIVERGENCES, PartConfig, teacher_layers
from mwalimu.data.collate import Batch
from mwalimu.objectives.attention import Attention
from mwalimu.objectives.cross_tokenizer import ChunkLikelihoods
from mwalimu.objectives.forward import States
from mwalimu.objectives.targets import Target


@dataclass(frozen=True, slots=True)
class Needs:
    """Read from the parts of an objective; `hidden` and `attention` are the teacher's layers."""

    target: bool = False
    hidden: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    chunks: bool = False
    starts: bool = False

    @classmethod
    def of(cls, parts: tuple[PartConfig, ...]) -> Needs:
        kinds = {part.kind for part in parts}
        return cls(
            target=bool(kinds & set(DIVERGENCES)),
            hidden=teacher_layers(parts, "hidden"),
            attention=teacher_layers(parts, "attention"),
            chunks="chunk_likelihood" in kinds,
            starts="optimal_transport" in kinds,
        )

    @property
    def same_tokens(self) -> bool:
        """Whether the teacher is to read the student's tokens."""
        return self.target or bool(self.hidden or self.attention)

    @property
    def other_tokens(self) -> bool:
        """Whether the teacher's own tokens of an answer are to be laid beside the student's."""
        return self.chunks or self.starts


@dataclass(frozen=True, slots=True)
class Starts:
    """Where both models have read the same text: the student's targets, the teacher's states."""

    tokens_M: torch.Tensor
    teacher: States


@dataclass(frozen=True, slots=True)
class TeacherView:
    """In the order of the batch's target tokens.

    `hidden_at` are those that `hidden` is of, where it is not of all.
    """

    target: Target | None = None
    hidden: dict[int, torch.Tensor] = field(default_factory=dict)
    hidden_at: torch.Tensor | None = None
    attention: dict[int, Attention] = field(default_factory=dict)
    chunks: ChunkLikelihoods | None = None
    starts: Starts | None = None


class TeacherSource(Protocol):
    """A cache or a model; `hidden_size` is its states', of `hidden`.

    `waits`: looking at it is waiting for somebody else, while this machine could work.
    """

    @property
    def hidden_size(self) -> int: ...

    @property
    def waits(self) -> bool: ...

    def look(self, batch: Batch) -> TeacherView: ...

    def ahead(self, batch: Batch) -> TeacherView | None:
        """As `look`, before the step and in another thread; None if it cannot be had so."""

    def close(self) -> None:
        """Nothing is looked at after it."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """The cache for answers that it knows, the model for those that the student wrote just now."""

    cached: TeacherSource
    live: TeacherSource

    @property
    def hidden_size(self) -> int:
        return self.live.hidden_size

    @property
    def waits(self) -> bool:
        return self.live.waits

    def look(self, batch: Batch) -> TeacherView:
        return self._of(batch).look(batch)

    def ahead(self, batch: Batch) -> TeacherView | None:
        return self._of(batch).ahead(batch)

    def _of(self, batch: Batch) -> TeacherSource:
        return self.live if batch.on_policy else self.cached

    def close(self) -> None:
        self.cached.close()
        self.live.close()
