"""What a training has in memory, as named tensors: of any model and of any optimiser.

A weight has its parameter's name; a tensor of the optimiser the parameter's and its own, such as
`model.norm.weight.exp_avg`. Tensors made of tensors (an 8-bit moment) are taken apart, numbers
become tensors of one element. So an optimiser's state does not depend on the order of parameters,
or on how many processes hold them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from mwalimu.errors import NonFiniteLoss
from mwalimu.finetune.files import save_tensors
from mwalimu.finetune.parallel.pieces import Pieces, local_of, part_of, share_of
from mwalimu.finetune.parallel.world import ALONE, World

MODEL, OPTIMISER = "model.safetensors", "optimiser.safetensors"


class Snapshot:
    """Gives what a checkpoint holds of `model` and `optimiser`, and takes it up again."""

    def __init__(self, model: Any, optimiser: torch.optim.Optimizer, world: World = ALONE) -> None:
        self.model = model
        self.optimiser = optimiser
        self.world = world

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """By file and name: the tensors themselves, not copies."""
        return {MODEL: self._weights(), OPTIMISER: dict(self._moments())}

    def write(self, folder: Path) -> dict[str, str]:
        """Writes this process's part of the files, and returns the SHA-256 of each part.

        One tensor at a time is on the host.
        """
        return {
            (part := part_of(name, self.world)): save_tensors(
                folder / part, share_of(held, self.world)
            )
            for name, held in self.tensors().items()
        }

    def read(self, folder: Path) -> None:
        """Weights and optimiser as they were. A parameter without a state then has none now."""
        with Pieces(folder, OPTIMISER) as saved:
            self._take_moments(saved)
        self.read_weights(folder)

    def read_weights(self, folder: Path) -> None:
        with Pieces(folder, MODEL) as saved, torch.no_grad():
            for name, tensor in self._weights().items():
                local_of(tensor).copy_(saved.read(name, tensor))

    def size(self) -> int:
        """Bytes of a checkpoint from the first step on; the optimiser is asked what it needs."""
        before = self._bytes()
        if self.optimiser.state:
            return before
        self._make_states()
        after = self._bytes()
        self.optimiser.state.clear()
        return after

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Weights are afterwards as they were before, and the optimiser is a new one."""
        before = {name: t.detach().cpu().clone() for name, t in self._weights().items()}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in self._weights().items():
                    tensor.copy_(before[name])
            self.optimiser.state.clear()

    def require_finite(self, step: int) -> None:
        """Raises NonFiniteLoss that names the first tensor with a NaN or an infinity."""
        held = {name: t for file in self.tensors().values() for name, t in file.items()}
        if bad := first_not_finite(held):
            raise NonFiniteLoss(
                f"{bad} is not finite after step {step}, and was not saved",
                where="finetune",
                fix="lower finetune.learning_rate" if step else "it was loaded so; check its files",
            )

    def _bytes(self) -> int:
        return sum(t.nbytes for held in self.tensors().values() for t in held.values())

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        """Tied weights come once."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _weights(self) -> dict[str, torch.Tensor]:
        saved = self.model.state_dict().keys()
        buffers = {name: b for name, b in self.model.named_buffers() if name in saved}
        return {**self._trained(), **buffers}

    def _moments(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Of each parameter, and the numbers that some optimisers keep of a whole group."""
        for name, parameter in self._trained().items():
            yield from _leaves(name, self.optimiser.state.get(parameter))
        for index, group in enumerate(self.optimiser.param_groups):
            yield from _leaves(f"group-{index}", _numbers(group))

    def _take_moments(self, saved: Pieces) -> None:
        """Into states that the optimiser makes itself: it knows their kinds and devices."""
        states = self.optimiser.state
        self._make_states()
        for name, parameter in self._trained().items():
            own = {leaf for leaf, _ in _leaves(name, states[parameter])}
            if own <= saved.names():
                states[parameter] = _taken(name, states[parameter], saved)
            else:
                del states[parameter]
        for index, group in enumerate(self.optimiser.param_groups):
            group.update(_taken(f"group-{index}", _numbers(group), saved))

    def _make_states(self) -> None:
        """A step at rate 0 on gradients of 0, which changes no weight."""
        groups = self.optimiser.param_groups
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


def _numbers(group: dict[str, Any]) -> dict[str, int | float]:
    return {key: value for key, value in group.items() if type(value) in (int, float)}


def first_not_finite(tensors: dict[str, torch.Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity; one synchronisation."""
    own = {name: local_of(tensor) for name, tensor in tensors.items()}
    checked = {name: t for name, t in own.items() if t.is_floating_point() and t.numel()}
    if not checked:
        return None
    # The extremes carry every NaN and infinity, and need no memory as isfinite() does.
    extremes = [_extremes(t.detach()) for t in checked.values()]
    values = torch.stack([extreme.to(extremes[0].device) for extreme in extremes]).tolist()
    bad = (
        name
        for name, pair in zip(checked, values, strict=True)
        if not all(map(math.isfinite, pair))
    )
    return next(bad, None)


def _extremes(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.itemsize == 1:  # 8-bit floats have no minimum
        tensor = tensor.to(torch.bfloat16)
    return torch.stack(tensor.aminmax()).double()


def _leaves(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The plain tensors that `value` is made of, and their names."""
    if isinstance(value, torch.Tensor):
        if isinstance(value, DTensor) or not is_traceable_wrapper_subclass(value):
            yield name, value
            return
        for part in value.__tensor_flatten__()[0]:
            yield from _leaves(f"{name}.{part}", getattr(value, part))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{name}.{key}", part)
    elif value is not None:
        # A float of Python has 64 bits, and torch would keep 32 of them.
        yield name, torch.tensor(value, dtype=torch.float64 if type(value) is float else None)


def _taken(name: str, value: Any, saved: Pieces) -> Any:
    """`value` with what `saved` has under the names that `_leaves` gives."""
    if isinstance(value, torch.Tensor):
        with torch.no_grad():
            for leaf, tensor in _leaves(name, value):
                local_of(tensor).copy_(saved.read(leaf, tensor))
        return value
    if isinstance(value, dict):
        return {key: _taken(f"{name}.{key}", part, saved) for key, part in value.items()}
    return value if value is None else type(value)(saved.read(name, torch.empty(())).item())
