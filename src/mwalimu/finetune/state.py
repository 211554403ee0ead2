"""Where a training stands: what a checkpoint knows beside tensors and generators."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Best:
    """The weights that will be published: the last ones, or the best on the validation rows.

    `epoch` is 2.5 in the middle of the third epoch. Losses are nats per target token.
    """

    epoch: float
    step: int
    train_loss: float
    validation_loss: float | None


@dataclass(slots=True)
class TrainState:
    """`tokens` are target tokens, `position` steps of the epoch, `epoch` counts finished ones.

    `judged` is the last step whose validation is over: a full `position` awaits it. `stale` counts
    validations since the best one. `log_bytes` is how long metrics.jsonl was, `signs` what the
    early warnings remember.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    judged: int = 0
    tokens: int = 0
    seconds: float = 0.0
    epoch_nats: float = 0.0
    epoch_tokens: int = 0
    stale: int = 0
    best: Best | None = None
    log_bytes: int = 0
    signs: dict[str, Any] = field(default_factory=dict)

    @property
    def epoch_loss(self) -> float:
        """Of the epoch so far, nats per target token."""
        return self.epoch_nats / self.epoch_tokens

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> TrainState:
        """Raises KeyError or TypeError for what is not a state of this version."""
        best = raw["best"]
        return cls(**{**raw, "best": None if best is None else Best(**best)})
