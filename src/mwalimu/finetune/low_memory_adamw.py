"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) for weights and moments of few bits.

- A weight in bfloat16 has 8 bits of precision: at the usual rates most updates would be rounded
  away. It is the upper half of a weight in float32 here, whose lower half is kept beside it (split
  SGD, Kalamkar et al. 2020, arXiv 2005.04680, section 7): 4 bytes a weight learn to the bit what
  takes 6 with a copy in float32.
- Moments in 8 bits: blocks of 256 numbers, each over the largest of its block, as the nearest of
  256 values that lie closer the smaller they are (Dettmers et al. 2021, arXiv 2110.02861, section
  2). Tensors under 4,096 numbers keep 32 bits, as there. Unlike there, the second moment is kept as
  its root, which has half as many decades: where gradients of a block are a thousandfold apart, the
  square of a small one would become 0, and its step thirtyfold.

All arithmetic is in float32, a slab at a time, and the same to the bit every time.

Shapes: S numbers of a slab, K blocks in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch

BLOCK = 256
LEAST_NUMBERS = 4096
"""Of a tensor whose moments are in 8 bits."""
SLABS = {"cpu": 1 << 16, "cuda": 1 << 24}
"""Numbers that are worked on at once: what stays in a CPU's cache, or 64 MiB a temporary."""


class LowMemoryAdamW(torch.optim.Optimizer):
    """`moments` are of 32 or 8 bits. Parameters in bfloat16 or float32, contiguous."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        moments: int,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self.moments = moments

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    self._begin(state, parameter)
                state["step"] += 1
                slab = SLABS.get(parameter.device.type, SLABS["cpu"])
                for start in range(0, parameter.numel(), slab):
                    _update(parameter, state, group, slice(start, start + slab))

    def _begin(self, state: dict[str, Any], parameter: torch.Tensor) -> None:
        state["step"] = 0
        few = self.moments == 8 and parameter.numel() >= LEAST_NUMBERS
        for name in ("exp_avg", "exp_avg_root" if few else "exp_avg_sq"):
            state[name] = _zeros_in_8_bits(parameter) if few else _zeros(parameter, torch.float32)
        if parameter.dtype == torch.bfloat16:
            state["lower_half"] = _zeros(parameter, torch.int16)


def _update(
    parameter: torch.Tensor, state: dict[str, Any], group: dict[str, Any], part: slice
) -> None:
    assert parameter.grad is not None
    beta1, beta2 = group["betas"]
    grad_S = parameter.grad.view(-1)[part].float()
    mean_S, square_S = _moments(state, part)
    mean_S.lerp_(grad_S, 1 - beta1)
    square_S.mul_(beta2).addcmul_(grad_S, grad_S, value=1 - beta2)
    root_S = square_S.sqrt()
    if "exp_avg_root" in state:
        _keep(state["exp_avg"], part, mean_S, signed=True)
        _keep(state["exp_avg_root"], part, root_S, signed=False)
    root_S.div_(math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
    stored_S, lower_S = parameter.view(-1)[part], None
    if "lower_half" in state:
        lower_S = state["lower_half"][part]
    weight_S = stored_S if lower_S is None else _joined(stored_S, lower_S)
    weight_S.mul_(1 - group["lr"] * group["weight_decay"])
    weight_S.addcdiv_(mean_S, root_S, value=-group["lr"] / (1 - beta1 ** state["step"]))
    if lower_S is not None:
        _split(weight_S, stored_S, lower_S)


def _moments(state: dict[str, Any], part: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """[S] each, in float32: new ones, or themselves where they have 32 bits."""
    if "exp_avg_root" not in state:
        return state["exp_avg"][part], state["exp_avg_sq"][part]
    mean_S = _read(state["exp_avg"], part, signed=True)
    return mean_S, _read(state["exp_avg_root"], part, signed=False).square_()


def _joined(upper_S: torch.Tensor, lower_S: torch.Tensor) -> torch.Tensor:
    """The float32 whose halves they are; the lower one has a sign, since the upper is rounded."""
    bits_S = upper_S.view(torch.int16).int().bitwise_left_shift_(16)
    return bits_S.add_(lower_S).view(torch.float32)


def _split(weight_S: torch.Tensor, upper_S: torch.Tensor, lower_S: torch.Tensor) -> None:
    bits_S = weight_S.view(torch.int32)
    rounded_S = (bits_S + (1 << 15)).bitwise_right_shift_(16)
    upper_S.copy_(rounded_S.to(torch.int16).view(torch.bfloat16))
    lower_S.copy_(bits_S - rounded_S.bitwise_left_shift_(16))


def _zeros(parameter: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    return torch.zeros(parameter.numel(), dtype=kind, device=parameter.device)


def _zeros_in_8_bits(parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scales of 0 make it 0 whatever the codes."""
    blocks = math.ceil(parameter.numel() / BLOCK)
    return {
        "codes": _zeros(parameter, torch.uint8),
        "scales": torch.zeros(blocks, dtype=torch.float32, device=parameter.device),
    }


def _read(moment: dict[str, torch.Tensor], part: slice, *, signed: bool) -> torch.Tensor:
    codes_S = moment["codes"][part]
    values = _values(signed, codes_S.device)
    return values.index_select(0, codes_S.int()).mul_(_spread(moment["scales"], part, len(codes_S)))


def _keep(
    moment: dict[str, torch.Tensor], part: slice, numbers_S: torch.Tensor, *, signed: bool
) -> None:
    missing = -len(numbers_S) % BLOCK  # in the last block of a tensor
    numbers_KB = torch.nn.functional.pad(numbers_S, (0, missing)).view(-1, BLOCK)
    first = part.start // BLOCK
    moment["scales"][first : first + len(numbers_KB)] = numbers_KB.abs().amax(1)
    scale_S = _spread(moment["scales"], part, len(numbers_S))
    shares_S = numbers_S / scale_S.clamp_(min=torch.finfo(torch.float32).tiny)
    bits_S = shares_S.bfloat16().view(torch.int16).int().bitwise_and_(0xFFFF)
    moment["codes"][part] = _nearest(signed, numbers_S.device).index_select(0, bits_S)


def _spread(scales: torch.Tensor, part: slice, size: int) -> torch.Tensor:
    """[S]: the scale of each number's block; a slab begins with a block."""
    first, blocks = part.start // BLOCK, math.ceil(size / BLOCK)
    own = scales[first : first + blocks]
    return own.repeat_interleave(BLOCK, output_size=blocks * BLOCK)[:size]


@cache
def _values(signed: bool, device: torch.device) -> torch.Tensor:
    """The 256 values, in order: seven powers of ten, each with twice the values of the one below.

    Of the paper's figure 2, with a sign bit, or with one more bit for the fraction.
    """
    values = [0.0, 1.0]
    for power in range(7):
        edges = torch.linspace(0.1, 1.0, (1 if signed else 2) * 2**power + 1, dtype=torch.float64)
        middles = ((edges[1:] + edges[:-1]) / 2 * 10.0 ** (power - 6)).tolist()
        values += middles
        if signed:
            values += [-value for value in middles]
    return torch.tensor(sorted(values), dtype=torch.float32, device=device)


@cache
def _nearest(signed: bool, device: torch.device) -> torch.Tensor:
    """The code of each of the 65,536 numbers of 16 bits: one look-up where a search takes eight.

    Neighbours of these are 0.8 % apart at most, those of the 256 values 0.7 % at least.
    """
    values = _values(signed, device)
    bits = torch.arange(1 << 16, dtype=torch.int32, device=device).to(torch.int16)
    numbers = bits.view(torch.bfloat16).float()
    return torch.bucketize(numbers, (values[1:] + values[:-1]) / 2).to(torch.uint8)
