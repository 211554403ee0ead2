"""How a model is run: rows packed, activations made twice, layers compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mwalimu.config import FinetuneConfig
from mwalimu.data.loading import causal_lm_of
from mwalimu.errors import ConfigError
from mwalimu.objectives.layers import decoder_layers
from mwalimu.objectives.packing import Packing, packings_for

LOOKS_INTO_LAYERS = ("hidden", "attention")


def packings_of(settings: FinetuneConfig, device: torch.device) -> tuple[Packing, ...]:
    """The ways to pack rows that the config leaves open, the best first."""
    if settings.packing == "off":
        return ()
    return packings_for(device, compiled=settings.compile)


def tell_if_padded(why: str, settings: FinetuneConfig, tell: Callable[[str], None]) -> None:
    """Raises ConfigError where rows cannot be packed, and must be."""
    if why and settings.packing == "on":
        raise ConfigError(
            f"rows cannot be packed: {why}", where="finetune.packing", fix="set it to auto"
        )
    if why:
        tell(f"rows are padded, not packed: {why}")


def run_layers(model: Any, settings: FinetuneConfig) -> None:
    """As the config says it. What is auto has been decided before, where memory is known."""
    if settings.activation_checkpointing == "on":
        checkpoint_activations(model)
    if settings.compile:
        compile_layers(model, settings)


def checkpoint_activations(model: Any) -> None:
    """Layers keep their inputs alone and run again in the backward pass, to the same bits.

    That is a third more arithmetic for a fraction of the memory. The last layer is left out: it
    would run again at once, while nothing of the other layers is there yet.

    Raises:
        ConfigError: the model's layers cannot be run so.
    """
    causal = causal_lm_of(model)
    enable = getattr(causal, "activation_checkpointing_enable", None)  # its name since 5.20
    try:
        (enable or causal.gradient_checkpointing_enable)({"use_reentrant": False})
    except ValueError as error:
        raise ConfigError(
            str(error).partition("\n")[0],
            where="finetune.activation_checkpointing",
            fix="set it to off",
        ) from None
    last: Any = decoder_layers(model)[-1]
    # Layers without a switch of their own are run by one of the model's, which knows no exception.
    last.gradient_checkpointing = not hasattr(last, "gradient_checkpointing")


def compile_layers(model: Any, settings: FinetuneConfig, backend: str = "inductor") -> None:
    """Each layer by itself, for any number of rows and tokens: they share one compilation.

    Raises:
        ConfigError: the objective looks into layers, or the student writes answers, which would
            compile them anew at every step.
    """
    taps: list[str] = [part.kind for part in settings.objective if part.kind in LOOKS_INTO_LAYERS]
    if settings.on_policy is not None:
        taps.append("on_policy")
    if taps:
        raise ConfigError(
            f"compiled layers do not go with {taps[0]}",
            where="finetune.compile",
            fix="set it to false",
        )
    for layer in decoder_layers(model):
        layer.compile(dynamic=True, backend=backend)
