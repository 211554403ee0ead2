"""How an ExecuTorch program's weights are stored, by torchao."""

from __future__ import annotations

from typing import Any

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError

_SCHEMES = {"fp32": "fp32", "int8": "8da8w", "int4": "8da4w"}
GROUP = 32


def scheme_of(target: TargetConfig) -> str:
    """ExecuTorch's name of it: `8da4w` is 4-bit weights under activations of dynamic 8 bits.

    Raises ConfigError: there is no such precision or scheme.
    """
    scheme = _SCHEMES.get(target.precision)
    if scheme is None or target.scheme not in (None, scheme):
        raise ConfigError(
            f"executorch has no {target.scheme or target.precision}",
            where="export.targets",
            fix="take fp32, int8 (8da8w) or int4 (8da4w)",
        )
    return scheme


def quantise(model: Any, scheme: str) -> None:
    """Every linear map in place; embeddings keep float32.

    8da8w has a scale a row, 8da4w one for each GROUP weights of a row; rows that are no multiple
    of it have one scale.
    """
    if scheme == "fp32":
        return
    import torch
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup

    def config(granularity: Any) -> Any:
        dtype = getattr(torch, "int8" if scheme == "8da8w" else "int4")
        return Int8DynamicActivationIntxWeightConfig(
            weight_dtype=dtype, weight_granularity=granularity
        )

    def grouped(module: Any) -> bool:
        return scheme == "8da4w" and module.in_features % GROUP == 0

    def linear(module: Any) -> bool:
        return isinstance(module, torch.nn.Linear)

    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())  # tied no longer
    quantize_(model, config(PerGroup(GROUP)), lambda one, _: linear(one) and grouped(one))
    quantize_(model, config(PerAxis(0)), lambda one, _: linear(one) and not grouped(one))
