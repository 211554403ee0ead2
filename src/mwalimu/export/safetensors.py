"""Transformers' own format: the student whole, adapters merged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError
from mwalimu.export.built import Built, context_of, versions_of
from mwalimu.export.source import load_student


def made_with() -> dict[str, str | None]:
    return versions_of("transformers", "safetensors")


def build(
    source: Path,
    folder: Path,
    target: TargetConfig,
    *,
    calibration: Sequence[Sequence[int]],
    note: Callable[[str], None],
) -> Built:
    """In fp32 or fp16; the runtime loads the whole folder.

    Raises:
        ConfigError: another precision.
        StudentError: it cannot be loaded.
    """
    import torch

    dtypes = {"fp32": torch.float32, "fp16": torch.float16}
    if target.precision not in dtypes or target.scheme is not None:
        raise ConfigError(
            f"safetensors has no {target.scheme or target.precision}",
            where="export.targets",
            fix="take fp32 or fp16, or another format for fewer bits",
        )
    model, _ = load_student(source)
    shutil.copy(Path(__file__).with_name("safetensors_sample.py"), folder / "sample.py")
    model.to(dtypes[target.precision]).save_pretrained(folder, safe_serialization=True)
    return Built(".", context_of(source))
