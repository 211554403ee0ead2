"""Targets of an export: their defaults, and a name for each that no other has."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mwalimu.config import ExportConfig, TargetConfig, build_config
from mwalimu.config.export import DEFAULT_PRECISIONS
from mwalimu.errors import ConfigError


@pytest.mark.parametrize(
    ("target", "name", "precision"),
    [
        ({"to": "safetensors"}, "safetensors-fp32", "fp32"),
        ({"to": "web"}, "web-int4", "int4"),
        ({"to": "openvino"}, "openvino-int8", "int8"),
        ({"to": "onnx", "precision": "fp32"}, "onnx-fp32", "fp32"),
        ({"to": "onnx", "precision": "int4", "scheme": "k_quant"}, "onnx-int4-k_quant", "int4"),
        ({"to": "onnx", "precision": "int8", "scheme": "k_quant"}, "onnx-int8-k_quant", "int8"),
        ({"to": "gguf"}, "gguf-int4", "int4"),
        ({"to": "gguf", "scheme": "Q5_K_M"}, "gguf-Q5_K_M", "int8"),
        ({"to": "gguf", "scheme": "q4_0", "precision": "int4"}, "gguf-Q4_0", "int4"),
        ({"to": "gguf", "scheme": "IQ4_XS"}, "gguf-IQ4_XS", "int4"),
        ({"to": "gguf", "scheme": "F32"}, "gguf-F32", "fp32"),
        ({"to": "gguf", "scheme": "BF16"}, "gguf-BF16", "fp16"),
    ],
)
def test_what_is_left_out_is_resolved_once(
    target: dict[str, Any], name: str, precision: str
) -> None:
    found = TargetConfig.model_validate(target)
    assert (found.name, found.precision) == (name, precision)
    assert TargetConfig.model_validate(found.model_dump()) == found


def test_every_format_has_a_default() -> None:
    names = {TargetConfig(to=to).name for to in DEFAULT_PRECISIONS}
    assert len(names) == 6


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (
            {"to": "gguf", "scheme": "Q5_K_M", "precision": "int4"},
            "export.targets.0: gguf's Q5_K_M is int8, not int4: leave out the precision",
        ),
        (
            {"to": "gguf", "scheme": "../../etc"},
            r"export.targets.0.scheme: String should match pattern '^\w+$'",
        ),
        ({"to": "gguf", "bits": 4}, "export.targets.0.bits: unknown key; known here: to, scheme"),
    ],
)
def test_what_is_no_target_is_told_once(target: dict[str, Any], told: str) -> None:
    raw = {"data": {"train": "x"}, "teacher": {"model": "fake"}, "student": {"model": "s/s"}}
    with pytest.raises(ConfigError) as caught:
        build_config(raw | {"task": "qa", "export": {"targets": [target]}}, base=Path())
    assert told in str(caught.value) and ";" not in str(caught.value).replace("key;", "")


def test_a_target_is_named_once() -> None:
    twice = [{"to": "gguf", "scheme": "q4_0"}, {"to": "gguf", "scheme": "Q4_0"}]
    with pytest.raises(ValidationError, match="names gguf-Q4_0 twice"):
        ExportConfig.model_validate({"targets": twice})
    ExportConfig.model_validate(
        {"targets": [{"to": "onnx", "precision": p, "scheme": "rtn"} for p in ("int8", "int4")]}
    )
