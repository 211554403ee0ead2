"""One loss over the vocabulary with its weight and temperature; several make up an objective."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from mwalimu.objectives.divergence import DEFAULT_PARAMETER, DIVERGENCES

CROSS_ENTROPY = "cross_entropy"
KINDS = (CROSS_ENTROPY, *DIVERGENCES)

Amount = float | torch.Tensor
"""One for all, or a tensor of N: one a target token."""


@dataclass(frozen=True, slots=True)
class Part:
    """weight * D(p_tau, q_tau), times tau^2 with `square` (Hinton et al. 2015, section 2.1).

    tau divides the student's logits, and the teacher's where all are known; what was sampled or
    cut to the best was so at its own temperature, which has to be this one. With the square, the
    gradient keeps its size whatever tau is; both the value and the gradient have it.
    `cross_entropy` is of the labels; every other kind is of the teacher's target.
    """

    kind: str
    weight: Amount = 1.0
    temperature: Amount = 1.0
    parameter: float | None = None
    square: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such loss: {self.kind}")
        if self.value_of_parameter is not None and not 0 < self.value_of_parameter < 1:
            raise ValueError(f"{self.kind} needs a parameter between 0 and 1")

    @property
    def value_of_parameter(self) -> float | None:
        default = DEFAULT_PARAMETER.get(self.kind)
        return default if self.parameter is None else self.parameter

    def rows(self, part: slice) -> Part:
        return Part(
            self.kind,
            _rows(self.weight, part),
            _rows(self.temperature, part),
            self.parameter,
            self.square,
        )


def by_temperature(parts: Iterable[Part]) -> list[list[int]]:
    """Indices of the parts that share one softmax."""
    groups: list[tuple[Amount, list[int]]] = []
    for index, part in enumerate(parts):
        for temperature, members in groups:
            if _same(temperature, part.temperature):
                members.append(index)
                break
        else:
            groups.append((part.temperature, [index]))
    return [members for _, members in groups]


def _same(left: Amount, right: Amount) -> bool:
    if isinstance(left, torch.Tensor):
        # The rows of one tensor, cut out twice, are two tensors over the same memory.
        return isinstance(right, torch.Tensor) and _memory(left) == _memory(right)
    return not isinstance(right, torch.Tensor) and left == right


def _memory(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _rows(amount: Amount, part: slice) -> Amount:
    return amount[part] if isinstance(amount, torch.Tensor) else amount
