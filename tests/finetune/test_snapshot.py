"""Any optimiser's state goes to named tensors and comes back to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing._internal.two_tensor import TwoTensor

from mwalimu.finetune.low_memory_adamw import LowMemoryAdamW
from mwalimu.finetune.snapshot import OPTIMISER, Snapshot

Build = Callable[[torch.nn.Module], torch.optim.Optimizer]


class Peculiar(torch.optim.Optimizer):
    """As 8-bit optimisers and Prodigy are: moments made of tensors, whole numbers, nested states,
    None, and numbers of the whole group."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": (0.9, 0.99), "seen": 0, "d": 1e-6})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["seen"] += 1
            group["d"] *= 1.1
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, self.state[p], group)

    def _update(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state |= {"calls": 0, "late": False, "nothing": None}
            state["codes"] = TwoTensor(torch.zeros_like(p), torch.zeros_like(p))
            state["inner"] = {"max": torch.zeros(()), "shared": _SHARED}
        state["calls"] += 1
        state["late"] = state["calls"] > 2
        state["codes"].a.mul_(0.9).add_(p.grad)
        state["codes"].b.mul_(0.99).addcmul_(p.grad, p.grad)
        state["inner"]["max"].copy_(torch.maximum(state["inner"]["max"], p.grad.abs().max()))
        size = state["codes"].b.sqrt() + state["inner"]["max"] * state["calls"] + state["late"]
        p.sub_(group["lr"] * state["codes"].a / (size + group["d"]) / group["seen"])


_SHARED = torch.arange(4.0)  # one table for all, as bitsandbytes has
OPTIMISERS: dict[str, Build] = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, fused=True),
    "amsgrad": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, amsgrad=True),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.01),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9, nesterov=True),
    "adagrad": lambda m: torch.optim.Adagrad(m.parameters(), lr=0.01),
    "adafactor": lambda m: torch.optim.Adafactor(m.parameters(), lr=0.01),
    "nadam": lambda m: torch.optim.NAdam(m.parameters(), lr=0.01),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, centered=True, momentum=0.5),
    "adamax": lambda m: torch.optim.Adamax(m.parameters(), lr=0.01),
    "asgd": lambda m: torch.optim.ASGD(m.parameters(), lr=0.01),
    "8 bits": lambda m: LowMemoryAdamW(m.parameters(), lr=0.01, betas=(0.9, 0.99), moments=8),
    "bfloat16": lambda m: LowMemoryAdamW(
        m.bfloat16().parameters(), lr=0.01, betas=(0.9, 0.99), moments=32
    ),
    "peculiar": lambda m: Peculiar(m.parameters(), lr=0.01),
}


def make(build: Build) -> Snapshot:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 1100),  # enough numbers for moments of 8 bits
        torch.nn.BatchNorm1d(1100),
        torch.nn.Linear(1100, 2),
        torch.nn.Linear(2, 2),
    )
    return Snapshot(model, build(model))


def step(snapshot: Snapshot, number: int) -> None:
    """The last layer has no gradient before the third step."""
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(number))
    inputs = inputs.to(snapshot.model[0].weight.dtype)
    layers = snapshot.model if number > 2 else snapshot.model[:3]
    snapshot.optimiser.zero_grad(set_to_none=True)
    layers(inputs).square().mean().backward()
    snapshot.optimiser.step()


def everything(snapshot: Snapshot) -> dict[str, torch.Tensor]:
    return {n: t.detach().clone() for held in snapshot.tensors().values() for n, t in held.items()}


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("build", OPTIMISERS.values(), ids=OPTIMISERS)
def test_a_training_goes_on_as_if_it_had_never_stopped(
    tmp_path: Path, build: Build, at: int
) -> None:
    whole = make(build)
    for number in range(6):
        step(whole, number)
    first = make(build)
    for number in range(at):
        step(first, number)
    first.write(tmp_path)
    resumed = make(build)
    torch.nn.init.zeros_(resumed.model[0].weight)
    resumed.read(tmp_path)
    kept, read = everything(first), everything(resumed)
    assert kept.keys() == read.keys() and all(torch.equal(kept[n], read[n]) for n in kept)
    for number in range(at, 6):
        step(resumed, number)
    left, right = everything(whole), everything(resumed)
    assert left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_names_are_those_of_parameters_and_of_the_optimisers_own(tmp_path: Path) -> None:
    snapshot = make(OPTIMISERS["peculiar"])
    step(snapshot, 0)
    snapshot.write(tmp_path)
    names = load_file(tmp_path / OPTIMISER).keys()
    assert {"0.weight.codes.a", "0.weight.codes.b", "0.weight.calls", "0.weight.inner.max"} <= names
    assert {"group-0.seen", "group-0.d"} <= names
    assert not any(name.startswith("3.") for name in names)


@pytest.mark.parametrize("build", OPTIMISERS.values(), ids=OPTIMISERS)
def test_the_size_is_known_before_the_first_step(tmp_path: Path, build: Build) -> None:
    snapshot = make(build)
    before = everything(snapshot)
    size = snapshot.size()
    after = everything(snapshot)
    assert before.keys() == after.keys()
    weights = [n for n in before if not n.startswith("group-")]
    assert all(torch.equal(before[n], after[n]) for n in weights)
    for number in range(4):
        step(snapshot, number)
    assert size == snapshot.size() == sum(t.nbytes for t in everything(snapshot).values())
