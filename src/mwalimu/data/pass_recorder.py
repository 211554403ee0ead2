"""Listens to the forward passes of a model while it generates, in bounded memory.

A pass scores the token that the next pass is fed, so one [B, V] block waits for its choice; all
earlier ones are reduced. Keeping all logits would be T times [B, V].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self


class PassRecorder(ABC):
    """While entered, hands the logits of every pass, as they leave the model, to `_reduce`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.steps = 0
        self._waiting_BV: Any = None

    def __enter__(self) -> Self:
        self._handle = self.model.register_forward_hook(self._take, with_kwargs=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.remove()

    def end(self, answers_BT: Any) -> int:
        """Reduces the last pass, whose choice no pass was fed; returns T, the steps that count."""
        steps = int(answers_BT.shape[1])
        if self.steps < steps:
            self._choose(answers_BT[:, -1])
        return steps

    @abstractmethod
    def _reduce(self, logits_BV: Any, ids_B: Any) -> None:
        """`ids_B` were chosen, by whatever sampling, from `logits_BV` (float32)."""

    def _take(self, module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._waiting_BV is not None:
            self._choose(kwargs["input_ids"][:, -1])
        self._waiting_BV = output.logits[:, -1].float()

    def _choose(self, ids_B: Any) -> None:
        self._reduce(self._waiting_BV, ids_B)
        self._waiting_BV = None
        self.steps += 1
