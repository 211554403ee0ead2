"""The section `export:` of `distill.yaml`: formats, what they must keep, what the device allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field, model_validator

from mwalimu.config.section import Section

ExportFormat = Literal["safetensors", "onnx", "gguf", "openvino", "executorch", "web"]
Precision = Literal["fp32", "fp16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISIONS: Mapping[ExportFormat, Precision] = {
    "safetensors": "fp32",
    "onnx": "int4",
    "gguf": "int4",
    "openvino": "int8",
    "executorch": "int8",
    "web": "int4",
}


class TargetConfig(Section):
    """One export: `export/<name>/` of the run folder."""

    to: ExportFormat = Field(description="the format")
    scheme: str | None = Field(
        None,
        pattern=r"^\w+$",
        description="the runtime's own name of how it quantises, such as Q5_K_M of gguf",
    )
    precision: Precision = Field(
        default_factory=lambda known: _precision(known["to"], known["scheme"]),
        description="the format's own default if unset; of gguf what the scheme implies",
    )

    @property
    def name(self) -> str:
        """As `onnx-int4` or `onnx-int4-k_quant`; a scheme of gguf says the precision too."""
        if self.to == "gguf" and self.scheme:
            return f"gguf-{self.scheme.upper()}"
        return "-".join(filter(None, (self.to, self.precision, self.scheme)))

    @model_validator(mode="after")
    def _one_precision(self) -> TargetConfig:
        implied = _precision(self.to, self.scheme)
        if self.to == "gguf" and self.scheme and self.precision != implied:
            raise ValueError(
                f"gguf's {self.scheme} is {implied}, not {self.precision}: leave out the precision"
            )
        return self


def _precision(to: ExportFormat, scheme: str | None) -> Precision:
    """What a target has that names none.

    A file type of llama.cpp implies its own: Q5 and Q6 need more than 4 bits, so they are int8.
    """
    if to == "gguf" and scheme:
        floats: dict[str, Precision] = {"F32": "fp32", "F16": "fp16", "BF16": "fp16"}
        many = re.match(r"Q[5-8]", scheme.upper())
        return floats.get(scheme.upper(), "int8" if many else "int4")
    return DEFAULT_PRECISIONS[to]


class ExportRequireConfig(Section):
    """The gate of every export; what is unset is free. All but agreement are at most."""

    accuracy_drop: float | None = Field(
        None, ge=0, le=1, description="below the student in full precision, on the test rows"
    )
    agreement: float | None = Field(
        None, ge=0, le=1, description="share of answers that are the student's, token by token"
    )
    size_mib: float | None = Field(None, gt=0, description="of the files that a device needs")
    memory_mib: float | None = Field(None, gt=0, description="of a process that answers")
    latency_p95_s: float | None = Field(
        None, gt=0, description="of one answer alone, 95th percentile"
    )


class ExportFinishConfig(Section):
    """Training under the rounding of int8 and int4 targets that lose too much."""

    above: float = Field(
        0.01, ge=0, le=1, description="the drop in accuracy on the validation rows that is too much"
    )
    epochs: int = Field(1, ge=1, description="over the rows that were learned")
    learning_rate: float | None = Field(
        None, gt=0, description="a tenth of finetune.learning_rate if unset"
    )


class ExportConfig(Section):
    """The student in other formats, each tried on its own runtime."""

    targets: tuple[TargetConfig, ...] = ()
    calibration_rows: int = Field(
        128, ge=1, description="of the training rows, for quantisers that look at data"
    )
    threads: int | None = Field(None, ge=1, description="of a runtime; its own choice if unset")
    slots: int = Field(1, ge=1, description="sequences at once when the test rows are answered")
    max_size_mib: float | None = Field(None, gt=0, description="of the export that is picked")
    max_latency_s: float | None = Field(None, gt=0, description="95th percentile, of the same")
    require: ExportRequireConfig = ExportRequireConfig()
    finish: ExportFinishConfig | None = Field(
        None, description="finishes int8 and int4 exports by more training; {} with the defaults"
    )

    @model_validator(mode="after")
    def _once_each(self) -> ExportConfig:
        names = [target.name for target in self.targets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"export.targets names {name} twice")
        return self
