"""What a target's file holds of a matrix: the quantiser's own rounding, weight for weight.

For training that goes on with rounded weights. Only what is reproduced to the bit is here; every
other format or scheme is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError
from mwalimu.export.matrices import Rounding
from mwalimu.export.rounding_onnx import onnx_roundings

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
    return onnx_roundings(target, model)
