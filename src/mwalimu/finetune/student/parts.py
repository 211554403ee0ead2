"""The parts of a model by name: embeddings, head, norms, attention, mlp, layers.0-5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from mwalimu.config.student import LAYERS
from mwalimu.data.loading import causal_lm_of
from mwalimu.errors import StudentError
from mwalimu.objectives.layers import decoder_layers

# What the modules of a decoder layer are called in the families of transformers.
INSIDE = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward", "moe")}


def freeze(model: Any, names: Sequence[str]) -> None:
    """What is in one of the parts learns no more.

    Raises:
        StudentError: the model has no such part, or nothing is left that learns.
    """
    for name in names:
        for parameter in parameters_of(model, name):
            parameter.requires_grad_(False)
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise StudentError(
            f"nothing learns once {', '.join(names)} are frozen",
            where="student.freeze",
            fix="name fewer parts",
        )


def unfreeze(model: Any, names: Sequence[str], dtype: torch.dtype) -> None:
    """What is in one of the parts learns, as numbers of `dtype`.

    Raises StudentError: the model has no such part.
    """
    for name in names:
        for parameter in parameters_of(model, name):
            parameter.data = parameter.data.to(dtype)
            parameter.requires_grad_(True)


def parameters_of(model: Any, name: str) -> list[torch.nn.Parameter]:
    """Raises StudentError: the model has no such part; the message has those that it has."""
    found = [p for module in _modules(causal_lm_of(model), name) for p in module.parameters()]
    if not found:
        depth = len(decoder_layers(model))
        raise StudentError(
            f"the student has no {name}",
            where="student",
            fix=f"its layers are layers.0-{depth - 1}"
            if LAYERS.fullmatch(name)
            else "name another part",
        )
    return found


def tied(model: Any) -> bool:
    """Whether embeddings and head are one matrix."""
    head = causal_lm_of(model).get_output_embeddings()
    embeddings = causal_lm_of(model).get_input_embeddings()
    return head is not None and head.weight is embeddings.weight


def says_of_tied(model: Any, names: Iterable[str]) -> str:
    """In words, what a part's name does to another one; empty where it does nothing."""
    named = {"embeddings", "head"} & set(names)
    if len(named) != 1 or not tied(model):
        return ""
    return f"{named.pop()} means embeddings and head: they are one matrix in this student"


def _modules(model: Any, name: str) -> Iterator[torch.nn.Module]:
    layers = decoder_layers(model)
    if name == "embeddings":
        yield model.get_input_embeddings()
    elif name == "head":
        yield from filter(None, [model.get_output_embeddings()])
    elif name == "norms":
        yield from (m for m in model.modules() if type(m).__name__.endswith("Norm"))
    elif name in INSIDE:
        for layer in layers:
            for child_name, child in layer.named_children():
                is_norm = type(child).__name__.endswith("Norm")
                if not is_norm and any(word in child_name for word in INSIDE[name]):
                    yield child
    else:
        yield from _chosen(layers, name)


def _chosen(layers: torch.nn.ModuleList, name: str) -> Iterator[torch.nn.Module]:
    """Of `layers.3` or `layers.0-5`; nothing if one of them is not there."""
    found = LAYERS.fullmatch(name)
    assert found is not None, "the config knows the names of parts"
    first, last = int(found[1]), int(found[2] or found[1])
    if last < len(layers):
        yield from layers[first : last + 1]
