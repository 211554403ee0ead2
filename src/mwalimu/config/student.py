"""The `student` section: which model learns, what of it is kept, which of its weights learn."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from mwalimu.config.section import Section

PARTS = ("embeddings", "head", "norms", "attention", "mlp")
"""Names of a model's parts, beside `layers.3` and `layers.0-5`."""
LAYERS = re.compile(r"layers\.(\d+)(?:-(\d+))?")


class PruneConfig(Section):
    """What is kept of `student.model`, by the names of its config.json; the rest stays as it is.

    `layers` is a number, or the layers themselves, from 0.
    """

    layers: int | tuple[int, ...] | None = Field(
        None, description="how many stay, or which, from 0"
    )
    layers_by: Literal["spread", "influence"] = Field(
        "spread", description="which so many layers: even steps, or those that change states most"
    )
    hidden: int | None = Field(None, ge=1, description="hidden_size")
    heads: int | None = Field(None, ge=1, description="num_attention_heads, in whole groups")
    intermediate: int | None = Field(None, ge=1, description="intermediate_size")
    rows: int = Field(128, ge=1, description="training rows that importance is measured on")

    @property
    def depth(self) -> int | None:
        """The number of layers that stay; None if all do."""
        return len(self.layers) if isinstance(self.layers, tuple) else self.layers

    @property
    def narrows(self) -> bool:
        return bool(self.hidden or self.heads or self.intermediate)

    @property
    def measures(self) -> bool:
        """Whether what stays depends on the job's rows."""
        return self.narrows or self.layers_by == "influence"

    @model_validator(mode="after")
    def _says_something(self) -> PruneConfig:
        if self.layers is None and not self.narrows:
            raise ValueError("prune needs layers, hidden, heads or intermediate")
        if self.layers_by == "influence" and not isinstance(self.layers, int):
            raise ValueError("layers_by: influence chooses among layers; give layers as a number")
        return self

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        named = layers if isinstance(layers, tuple) else ()
        if layers == () or list(named) != sorted(set(named)) or any(i < 0 for i in named):
            raise ValueError("layers are listed from the lowest, each once, from 0")
        if isinstance(layers, int) and layers < 1:
            raise ValueError("a student has at least one layer")
        return layers


class StudentConfig(Section):
    """`model` is a name of the registry, a folder or a hub id.

    A folder with a config and no weights starts from `seed`.

    `prune` makes a smaller model out of it first. Under every method but `full` the model is the
    frozen base of an adapter, whose settings begin with `lora_`.
    """

    model: str = Field(description="a name of the registry, a folder or a hub id")
    prune: PruneConfig | None = None
    method: Literal["full", "lora", "dora", "rslora", "qlora"] = Field(
        "lora", description="all weights learn, or which adapter does"
    )
    lora_rank: int = Field(16, ge=1, description="of the adapter's two factors")
    lora_alpha: int = Field(
        32, ge=1, description="an adapter counts alpha / rank times; rslora: / sqrt(rank)"
    )
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the adapter's inputs that is dropped in training"
    )
    lora_targets: tuple[str, ...] = Field(
        (), description="the matrices that are adapted, such as [q_proj, v_proj]; all if empty"
    )
    base_bits: Literal[16, 8, 4] | None = Field(
        None, description="of a frozen matrix; 4 under qlora, else 16, which is no quantisation"
    )
    freeze: tuple[str, ...] = Field(
        (), description="under full: embeddings, head, norms, attention, mlp, layers.0-5"
    )
    unfreeze: tuple[Literal["embeddings", "head", "norms"], ...] = Field(
        (), description="what of the base learns beside an adapter"
    )
    publish: Literal["merged", "adapter"] = Field(
        "merged", description="an adapter: added to the base's weights, or in a folder of its own"
    )
    max_length: int | None = Field(
        None, ge=8, description="tokens of a row; 2048, or the student's context if that is less"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the weights; auto: bfloat16 for a frozen base on a GPU, else float32",
    )
    trust_remote_code: bool = Field(
        False, description="run code that comes with the model; it runs as you"
    )

    @property
    def adapts(self) -> bool:
        return self.method != "full"

    @property
    def bits(self) -> int:
        """Of a frozen matrix: 16 stands for whatever `dtype` says."""
        return self.base_bits or (4 if self.method == "qlora" else 16)

    @property
    def names_parts(self) -> bool:
        """Whether it depends on the model's parts, which it may not have."""
        return bool(self.prune or self.freeze or self.unfreeze or self.lora_targets)

    @field_validator("freeze")
    @classmethod
    def _known_parts(cls, freeze: tuple[str, ...]) -> tuple[str, ...]:
        for name in freeze:
            found = LAYERS.fullmatch(name)
            if name not in PARTS and not found:
                raise ValueError(
                    f"no part is called {name!r}; there are {', '.join(PARTS)}, and layers.0-5"
                )
            if found and found[2] and int(found[2]) < int(found[1]):
                raise ValueError(f"{name!r} ends before it begins")
        return freeze

    @model_validator(mode="after")
    def _no_contradiction(self) -> StudentConfig:
        if self.adapts and self.freeze:
            raise ValueError(
                f"freeze contradicts method {self.method}, under which all of the model is frozen "
                "but the adapter; drop it, or name what learns too in unfreeze"
            )
        if not self.adapts and self.unfreeze:
            raise ValueError("unfreeze contradicts method full, under which everything learns")
        if not self.adapts and self.bits < 16:
            raise ValueError("weights that learn cannot be quantised; base_bits needs an adapter")
        if self.method == "qlora" and self.bits == 16:
            raise ValueError("qlora is an adapter on a quantised base; use lora, or base_bits 4")
        if not self.adapts and self.publish == "adapter":
            raise ValueError("method full makes no adapter that publish could keep apart")
        return self
