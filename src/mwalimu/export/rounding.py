"""What a target's file holds of a matrix: the quantiser's own rounding, weight for weight.

For training that goes on with rounded weights. Only what is reproduced to the bit is here; every
other format or scheme is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError

Rounding = Callable[[torch.Tensor], torch.Tensor]
"""A matrix [rows, inputs] to what is read back of the file, of the same shape and type."""

BLOCK = 32  # of ONNX Runtime's MatMulNBits, as the builder asks for it
_ROUND_TO_NEAREST = (None, "rtn", "rtn_last")


def require_reproduced(target: TargetConfig) -> None:
    """Raises ConfigError: how this target rounds is not reproduced here."""
    if target.precision not in ("int8", "int4"):
        why = f"{target.precision} rounds too little to be trained for"
    elif target.to in ("onnx", "web"):
        if target.scheme in _ROUND_TO_NEAREST:
            return
        why = f"the scheme {target.scheme} searches its scales; rtn and rtn_last are reproduced"
    elif target.to == "gguf":
        return
    else:
        why = f"how {target.to} rounds is not reproduced; onnx, web and gguf are"
    raise ConfigError(
        f"{target.name} cannot be finished: {why}",
        where="export.finish",
        fix="take such a target, or leave export.finish out",
    )


def roundings(target: TargetConfig, folder: Path, model: Any) -> Mapping[str, Rounding]:
    """By the names of `model`'s modules, for those whose weight is rounded in the export `folder`.

    Activations, which some runtimes round too, are none of it.

    Raises:
        ConfigError: the target is not reproduced.
        StudentError: the export has rounded weights that are no matrix of the student.
        MissingDependency: the target's packages are not installed.
    """
    require_reproduced(target)
    if target.to == "gguf":
        from mwalimu.export.rounding_gguf import gguf_roundings

        return gguf_roundings(folder, model)
    return _onnx_roundings(target, model)


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


def as_type(dtype: torch.dtype) -> Rounding:
    """Stored as plain numbers of fewer bits."""
    return lambda weight_OI: weight_OI.to(dtype).to(weight_OI.dtype)


def _onnx_roundings(target: TargetConfig, model: Any) -> Mapping[str, Rounding]:
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
