"""The shape of a model out of its config.json, and what pruning leaves of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mwalimu.config.student import PruneConfig
from mwalimu.registry.shape import Shape

TIED_BY_DEFAULT = {"gemma", "gemma2", "gemma3_text"}  # whose config.json need not say so
_HEADS = "num_attention_heads"
_NUMBERS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", _HEADS)


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """Of a decoder of the Llama kind; None where `config` lacks the numbers of one, or has experts.

    Of a model for more than text, its text model's.
    """
    config = config.get("text_config", config)
    experts = any("expert" in name and value for name, value in config.items())
    numbers: dict[str, Any] = {name: config.get(name) for name in _NUMBERS}
    if experts or not all(isinstance(number, int) and number for number in numbers.values()):
        return None
    kind, tied, heads = config.get("model_type"), config.get("tie_word_embeddings"), numbers[_HEADS]
    numbers |= {
        "model_type": kind,
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or numbers["hidden_size"] // heads,
        "tie_word_embeddings": kind in TIED_BY_DEFAULT if tied is None else tied,
    }
    try:
        return TypeAdapter(Shape).validate_python(numbers)
    except ValidationError:
        return None


def pruned(shape: Shape, prune: PruneConfig | None) -> Shape:
    """What `student.prune` leaves: heads go in whole groups, each with its key head."""
    if prune is None:
        return shape
    queries_a_group = shape.num_attention_heads // shape.num_key_value_heads
    heads = prune.heads or shape.num_attention_heads
    return replace(
        shape,
        num_hidden_layers=prune.depth or shape.num_hidden_layers,
        hidden_size=prune.hidden or shape.hidden_size,
        intermediate_size=prune.intermediate or shape.intermediate_size,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // queries_a_group),
    )
