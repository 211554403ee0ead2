"""Small heads of every make, their logits in numpy, and a record of the largest tensor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mwalimu.objectives import chunking
from mwalimu.objectives.head import Head

HIDDEN, ROWS = 5, 13
MAKES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "scaled": {"scale": 0.25},
    "capped": {"soft_cap": 3.0, "scale": 2.0, "bias": True},
    "padded": {"vocabulary": 9, "bias": True, "soft_cap": 4.0},
}


def make_head(
    make: str, *, seed: int = 0, hidden: int = HIDDEN, kind: torch.dtype = torch.float64
) -> Head:
    options = dict(MAKES[make])
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(ROWS, hidden, dtype=torch.float64, generator=generator).to(kind)
    bias = None
    if options.pop("bias", False):
        bias = torch.randn(ROWS, dtype=torch.float64, generator=generator).to(kind).requires_grad_()
    return Head(weight.requires_grad_(), bias, **options)


def numpy_logits(hidden: torch.Tensor, head: Head | None) -> np.ndarray:
    """As Head says them, padded columns at minus infinity."""
    states = hidden.detach().double().numpy()
    if head is None:
        return np.asarray(states)
    logits = states @ head.weight_VH.detach().double().numpy().T
    if head.bias_V is not None:
        logits = logits + head.bias_V.detach().double().numpy()
    logits = logits * head.scale
    if head.soft_cap is not None:
        logits = head.soft_cap * np.tanh(logits / head.soft_cap)
    if head.vocabulary is not None:
        logits[:, head.vocabulary :] = -np.inf
    return np.asarray(logits)


def numpy_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def parameters(head: Head) -> list[torch.Tensor]:
    return [t for t in (head.weight_VH, head.bias_V) if t is not None]


def three_tokens_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "CHUNK_BYTES", {"cpu": 0})
    monkeypatch.setattr(chunking, "MIN_CHUNK", 3)


class _Largest(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


@contextmanager
def largest_tensor() -> Iterator[_Largest]:
    with _Largest() as largest:
        yield largest
