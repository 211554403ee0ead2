"""ONNX Runtime's rounding of a student's matrices, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mwalimu.config import TargetConfig
from mwalimu.export.matrices import Rounding, as_type

BLOCK = 32  # of ONNX Runtime's MatMulNBits, as the builder asks for it


def onnx_roundings(target: TargetConfig, model: Any) -> Mapping[str, Rounding]:
    """Every matrix; a tied embedding of int4 is the head's matrix, any other one is float16."""
    bits = 4 if target.precision == "int4" else 8
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    of_head = nearest(8 if target.scheme == "rtn_last" else bits)
    shared = head.weight is embedding.weight and target.precision == "int4"
    found: dict[str, Rounding] = {}
    for name, module in model.named_modules():
        if module is embedding:
            found[name] = of_head if shared else as_type(torch.float16)
        elif module is head:
            found[name] = of_head
        elif isinstance(module, torch.nn.Linear):
            found[name] = nearest(bits)
    return found


def nearest(bits: int) -> Rounding:
    """Symmetric, in blocks of 32 along the inputs with a float32 scale each: ONNX Runtime's RTN.

    scale = 2 max|w| / (2^bits - 1); q = clip(round(w / scale) + 2^(bits-1), 0, 2^bits - 1), halves
    to even and in float64, as its `quant_tensor` computes them. A last block that is not full
    counts as filled with zeros.
    """
    top, middle = 2**bits - 1, 2 ** (bits - 1)

    def rounded(weight_OI: torch.Tensor) -> torch.Tensor:
        inputs = weight_OI.shape[1]
        padded = torch.nn.functional.pad(weight_OI.float(), (0, -inputs % BLOCK))
        blocks = padded.reshape(len(padded), -1, BLOCK).double()
        largest = blocks.abs().amax(-1, keepdim=True)
        scale = torch.where(largest > 0, 2 * largest / top, 1.0)
        whole = (blocks / scale + middle).round().clamp(0, top) - middle
        back_OI: torch.Tensor = (whole.float() * scale.float()).reshape_as(padded)
        return back_OI[:, :inputs].to(weight_OI.dtype)

    return rounded
