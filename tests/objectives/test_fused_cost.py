"""What the fused loss makes and what it leaves out: no logits of a batch, no work for frozen parts.

Shapes: N target tokens, C tokens of a chunk, V vocabulary, H hidden.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.head import Head
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import LiveTarget
from tests.objectives import cases

N, C, V, H = 64, 8, 101, 5
PRODUCTS = ("aten.mm.default", "aten.addmm.default", "aten.addmm_.default")


@dataclass
class Watch(TorchDispatchMode):
    """Counts matrix products, and the sizes in elements of memory that is made and that lives."""

    products: int = 0
    made: Counter[int] = field(default_factory=Counter)
    alive: dict[int, int] = field(default_factory=dict)
    most: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        had = {storage_of(x)._cdata for x in tensors_in([args, kwargs or {}])}
        out = func(*args, **(kwargs or {}))
        self.products += str(func) in PRODUCTS
        for tensor in tensors_in([out]):
            storage = storage_of(tensor)
            if storage._cdata not in had | self.alive.keys():
                size = storage.nbytes() // tensor.element_size()
                self.made[size] += 1
                self.alive[storage._cdata] = size
                weakref.finalize(storage, self.alive.pop, storage._cdata, None)
        self.most = max(self.most, sum(self.alive.values()))
        return out


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def tensors_in(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def problem(
    form: str, *, frozen: bool = False, soft_cap: float | None = None, width: int = V
) -> tuple[Any, ...]:
    """Arguments of `fused_loss`, before the parts."""
    rng = np.random.default_rng(0)
    hidden = torch.tensor(rng.normal(size=(N, H)), dtype=torch.float32, requires_grad=True)
    weight = torch.tensor(
        rng.normal(size=(width, H)), dtype=torch.float32, requires_grad=not frozen
    )
    labels = torch.tensor(rng.integers(width, size=N))
    head = Head(weight, soft_cap=soft_cap)
    if form == "live":
        states = torch.tensor(rng.normal(size=(N, 2 * H)), dtype=torch.float32)
        weight = torch.tensor(rng.normal(size=(width, 2 * H)), dtype=torch.float32)
        return hidden, head, labels, LiveTarget(states, Head(weight))
    teacher = cases.teacher_of(rng, form, rng.normal(size=(N, width)), np.float32)
    return hidden, head, labels, cases.target_of(teacher, torch.float32)


def kinds_of(form: str) -> tuple[str, ...]:
    if form == "labels":
        return ("cross_entropy",)
    return ("cross_entropy", *(["forward_kl"] if form == "sampled" else cases.DIVERGENCES))


FORMS = ("labels", "sampled", "topk", "dense", "live")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("soft_cap", [None, 3.0])
def test_logits_of_more_than_a_chunk_never_exist(form: str, soft_cap: float | None) -> None:
    arguments = problem(form, soft_cap=soft_cap)
    parts = [Part(kind, 0.5, tau) for kind in kinds_of(form) for tau in (1.0, 2.0)]
    with Watch() as watch:
        loss, _ = fused_loss(*arguments, parts, 1 / N, chunk=C)
        loss.backward()
    assert C * V in watch.made
    assert max(watch.made) == max(C * V, V * H)


@pytest.mark.parametrize("form", FORMS)
def test_a_chunk_is_projected_once_and_a_frozen_head_has_no_gradient(form: str) -> None:
    """Three products a chunk, two with a frozen head; one more for a live teacher's head."""
    teacher = int(form == "live")
    for frozen, products in ((False, 3 + teacher), (True, 2 + teacher)):
        arguments = problem(form, frozen=frozen)
        parts = [Part(kind) for kind in kinds_of(form)]
        with Watch() as watch:
            loss, _ = fused_loss(*arguments, parts, chunk=C)
            loss.backward()
        assert watch.products == products * N // C
        assert (V * H in watch.made) != frozen
        assert (arguments[1].weight_VH.grad is None) == frozen


def test_without_a_gradient_a_chunk_is_one_product() -> None:
    arguments = problem("topk")
    with torch.no_grad(), Watch() as watch:
        fused_loss(*arguments, [Part("jsd")], chunk=C)
    assert watch.products == N // C and V * H not in watch.made


def test_states_that_need_no_gradient_get_none() -> None:
    hidden, head, labels, target = problem("topk")
    with Watch() as watch:
        loss, _ = fused_loss(hidden.detach(), head, labels, target, [Part("jsd")], chunk=C)
        loss.backward()
    assert watch.products == 2 * N // C


def buffers(form: str, *parts: Part, soft_cap: float | None = None) -> float:
    """The most memory alive at once, in buffers of a chunk's logits; a frozen head."""
    width = 1001  # so that what is K numbers a token does not count
    arguments = problem(form, frozen=True, soft_cap=soft_cap, width=width)
    with Watch() as watch:
        fused_loss(*arguments, parts, 1 / N, chunk=C)
    return watch.most / (C * width)


DENSE_BUFFERS = {
    "forward_kl": 6,
    "reverse_kl": 5,
    "jsd": 8,
    "skew_forward_kl": 7,
    "skew_reverse_kl": 8,
    "total_variation": 8,
}


@pytest.mark.parametrize("form", ["labels", "sampled", "topk"])
def test_labels_draws_and_best_tokens_take_one_buffer(form: str) -> None:
    for kind in kinds_of(form):
        assert buffers(form, Part(kind)) < 1.3
        assert buffers(form, Part("cross_entropy"), Part(kind)) < 1.3


@pytest.mark.parametrize("kind", cases.DIVERGENCES)
def test_a_dense_teacher_takes_no_more_buffers_than_it_did(kind: str) -> None:
    assert buffers("dense", Part(kind)) < DENSE_BUFFERS[kind] + 0.3
    assert buffers("live", Part(kind)) < DENSE_BUFFERS[kind] + 1.3
