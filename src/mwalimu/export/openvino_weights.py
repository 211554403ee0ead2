"""How OpenVINO's weights are stored: by precision, or by the name of a mode of NNCF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError
from mwalimu.runtimes.openvino_library import openvino_library

_MODES = {"int8": "int8_asym", "int4": "int4_sym"}
_SCHEMES = {
    "int8": ("int8_sym", "int8_asym"),
    "int4": ("int4_sym", "int4_asym", "nf4"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """`mode` is NNCF's, None for plain numbers; `runtime_options` are written into the model."""

    mode: str | None
    runtime_options: Mapping[str, str]


def plan_of(target: TargetConfig) -> Plan:
    """Plain weights keep a plain key-value cache, and activations that are not quantised.

    OpenVINO would cache 8-bit keys and values on a CPU; where weights have fewer bits, it may.

    Raises ConfigError: the precision has no such scheme.
    """
    exact = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    schemes = _SCHEMES.get(target.precision, ())
    if target.scheme is not None and target.scheme not in schemes:
        raise ConfigError(
            f"openvino has no scheme {target.scheme!r} in {target.precision}",
            where="export.targets",
            fix=f"take one of {', '.join(schemes)}" if schemes else "leave out the scheme",
        )
    if target.precision == "fp32":
        return Plan(None, exact | {"KV_CACHE_PRECISION": "f32"})
    if target.precision == "fp16":
        return Plan(None, exact | {"KV_CACHE_PRECISION": "f16"})
    return Plan(target.scheme or _MODES[target.precision], {})


def compress(model: Any, plan: Plan, calibration: Sequence[Sequence[int]], openvino: Any) -> Any:
    """The model with its weights in the plan's mode.

    Embeddings and the head of a 4-bit model keep 8 bits. A weight whose rows are no multiple of
    128 is grouped by what divides them.
    """
    if plan.mode is None:
        return model
    nncf = openvino_library("nncf")
    nncf.set_log_level("ERROR")
    mode = nncf.CompressWeightsMode(plan.mode)
    whole_rows = plan.mode.startswith("int8")
    options = {} if whole_rows else _by_groups(nncf, plan.mode, calibration)
    with redirect_stdout(StringIO()):  # it draws its progress
        return nncf.compress_weights(model, mode=mode, **options)


def _by_groups(nncf: Any, mode: str, calibration: Sequence[Sequence[int]]) -> dict[str, Any]:
    advanced = nncf.AdvancedCompressionParameters(
        group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
    )
    groups = {"group_size": 128, "advanced_parameters": advanced}
    if not calibration:
        return groups
    return groups | {
        "dataset": nncf.Dataset([_inputs(ids) for ids in calibration]),
        "subset_size": len(calibration),
        "awq": True,
        "scale_estimation": mode != "nf4",
    }


def _inputs(ids: Sequence[int]) -> dict[str, Any]:
    return {
        "input_ids": np.array([ids], dtype=np.int64),
        "attention_mask": np.ones((1, len(ids)), dtype=np.int64),
        "position_ids": np.arange(len(ids), dtype=np.int64)[None],
        "beam_idx": np.zeros(1, dtype=np.int32),
    }
