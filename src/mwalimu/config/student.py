"""The `student` section: which model learns, and which of its weights. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mwalimu.config.section import Section


class StudentConfig(Section):
    """`model` is a folder or hub id; a folder with a config and no weights starts from `seed`."""

    model: str
    method: Literal["full", "lora"] = "lora"
    lora_rank: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    max_length: int | None = Field(
        None, ge=8, description="tokens of a row; 2048, or the student's context if that is less"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    trust_remote_code: bool = False
