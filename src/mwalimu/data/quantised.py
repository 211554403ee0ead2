"""Frozen matrices in 8 or 4 bits, which are made plain numbers again each time they are used.

8 bits: one scale a row, the largest value over 127, and whole numbers of it.
4 bits: NormalFloat in blocks of 64, whose scales are themselves in 8 bits (Dettmers et al. 2023,
QLoRA, arXiv 2305.14314, section 3), by the kernels of bitsandbytes for CUDA and CPUs.

Only weights are quantised: sums are of the numbers that `dequantise` gives, in training and in use.
The backward pass makes them anew rather than keep them, which would cost the memory again.

Shapes: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch

from mwalimu.errors import MissingDependency

BLOCK, SCALES_BLOCK = 64, 256


def require_quantiser(bits: int) -> None:
    """Raises MissingDependency where matrices of so many bits cannot be made."""
    if bits == 4 and find_spec("bitsandbytes") is None:
        raise MissingDependency(
            "a base in 4 bits needs bitsandbytes, which is not installed",
            where="student.base_bits",
            fix="pip install 'mwalimu[qlora]', or use base_bits 8",
        )


class FrozenLinear(torch.nn.Linear):
    """A linear layer whose matrix is kept in few bits and does not learn.

    The codes are buffers that no state_dict has: a checkpoint need not hold what never changes.
    """

    def __init__(self, plain: torch.nn.Linear, bits: int) -> None:
        torch.nn.Module.__init__(self)  # Linear's own would make a matrix
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.bits, self.dtype = bits, plain.weight.dtype
        self.bias = plain.bias
        codes = (
            _in_8_bits(plain.weight.detach()) if bits == 8 else _in_4_bits(plain.weight.detach())
        )
        for name, tensor in codes.items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]  # computed, not kept
        """[O, I], plain numbers."""
        return _from_8_bits(self) if self.bits == 8 else _from_4_bits(self)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = _Product.apply(input.to(self.dtype), self)  # type: ignore[no-untyped-call]
        return output

    def plain(self) -> torch.nn.Linear:
        """A layer of its own that computes the same."""
        with torch.device("meta"):
            layer = torch.nn.Linear(self.in_features, self.out_features, bias=False)
        layer.weight = torch.nn.Parameter(self.weight, requires_grad=False)
        layer.bias = self.bias
        return layer


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, layer: FrozenLinear) -> torch.Tensor:
        ctx.layer = layer
        return torch.nn.functional.linear(input, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        grad = grads[0]
        # Under autocast the product was taken in half precision.
        return grad @ ctx.layer.weight.to(grad.dtype), None


def quantise(model: Any, bits: int, device: torch.device) -> None:
    """Every linear layer but the head becomes a FrozenLinear on `device`, one after the other.

    16 bits are no quantisation. Raises MissingDependency.
    """
    if bits == 16:
        return
    require_quantiser(bits)
    for parent, name, linear in list(_linears(model)):
        if linear is not model.get_output_embeddings():
            setattr(parent, name, FrozenLinear(linear.to(device), bits))


def dequantise(model: torch.nn.Module) -> None:
    """Every FrozenLinear in `model` becomes a linear layer with the numbers that it stood for."""
    for parent, name, linear in list(_linears(model)):
        if isinstance(linear, FrozenLinear):
            setattr(parent, name, linear.plain())


def is_quantised(model: torch.nn.Module) -> bool:
    return any(isinstance(module, FrozenLinear) for module in model.modules())


def parameter_count(model: torch.nn.Module) -> int:
    """Numbers that the model is made of, in however many bits; tied ones count once."""
    frozen = [m for m in model.modules() if isinstance(m, FrozenLinear)]
    plain = sum(parameter.numel() for parameter in model.parameters())
    return plain + sum(layer.in_features * layer.out_features for layer in frozen)


def _linears(
    module: torch.nn.Module,
) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Linear]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.Linear):
                yield parent, name, child


def _in_8_bits(weight_OI: torch.Tensor) -> dict[str, torch.Tensor]:
    scale_O1 = (weight_OI.abs().amax(1, keepdim=True) / 127).clamp(
        min=torch.finfo(weight_OI.dtype).tiny
    )
    codes_OI = (weight_OI / scale_O1).round().clamp(-127, 127).to(torch.int8)
    return {"codes": codes_OI, "scale": scale_O1}


def _from_8_bits(layer: Any) -> torch.Tensor:
    weight_OI: torch.Tensor = layer.codes.to(layer.dtype).mul_(layer.scale)
    return weight_OI


def _in_4_bits(weight_OI: torch.Tensor) -> dict[str, torch.Tensor]:
    from bitsandbytes.functional import quantize_4bit

    codes, state = quantize_4bit(
        weight_OI, blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
    )
    return {
        "codes": codes,
        "levels": state.code,
        "scales": state.absmax,
        "scales_mean": state.offset,
        "scales_scale": state.state2.absmax,
        "scales_levels": state.state2.code,
    }


def _from_4_bits(layer: Any) -> torch.Tensor:
    from bitsandbytes.functional import QuantState, dequantize_4bit

    scales = QuantState(
        absmax=layer.scales_scale,
        code=layer.scales_levels,
        blocksize=SCALES_BLOCK,
        dtype=torch.float32,
    )
    state = QuantState(
        absmax=layer.scales,
        shape=torch.Size((layer.out_features, layer.in_features)),
        code=layer.levels,
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=layer.dtype,
        offset=layer.scales_mean,
        state2=scales,
    )
    weight_OI: torch.Tensor = dequantize_4bit(layer.codes, state)
    return weight_OI
