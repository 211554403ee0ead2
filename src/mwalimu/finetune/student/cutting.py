"""A smaller model cut out of a larger one: fewer layers, heads, neurons, channels.

Every matrix of the Llama, Qwen, Phi, Mistral, Gemma and SmolLM families is a table of two axes, and
what stays is one list of indices an axis. Hidden channels are one list for the whole model, since
all layers write to the same residual stream; heads and neurons are each layer's own.

Two things depend on the number of channels H, and are put right so that a channel that was always
zero can go without any effect:
- RMSNorm divides by sqrt(mean of squares over H). Its gain is multiplied by
  sqrt(mean square of the channels that stay / mean square of all), as measured.
- Gemma multiplies its embeddings by sqrt(H). They are stored larger instead, and where the head is
  the same matrix, the last norm makes up for it.

Shapes: L layers, H hidden, G key-value groups a layer, I neurons a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM

from mwalimu.errors import StudentError
from mwalimu.finetune.student.parts import tied
from mwalimu.objectives.layers import decoder_layers

# By module: what its rows and its columns are. A fused matrix has its parts one under another.
AXES = {
    "q_proj": ("heads", "hidden"),
    "k_proj": ("groups", "hidden"),
    "v_proj": ("groups", "hidden"),
    "qkv_proj": ("heads+groups+groups", "hidden"),
    "o_proj": ("hidden", "heads"),
    "gate_proj": ("neurons", "hidden"),
    "up_proj": ("neurons", "hidden"),
    "gate_up_proj": ("neurons+neurons", "hidden"),
    "down_proj": ("hidden", "neurons"),
    "embed_tokens": ("", "hidden"),
    "lm_head": ("", "hidden"),
}
NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
    "norm",
)
HEAD_NORMS = ("q_norm", "k_norm")  # over a head's own channels, all of which stay


@dataclass(frozen=True, slots=True)
class Kept:
    """Indices, ascending: layers of the whole model, then of each layer that stays its own.

    `hidden_H`, `groups` and `neurons` are None where all stay. `energy_H` has the mean square of
    each channel before each norm, by the norm's name, where it was measured.
    """

    layers: tuple[int, ...]
    hidden_H: torch.Tensor | None = None
    groups: tuple[torch.Tensor, ...] | None = None
    neurons: tuple[torch.Tensor, ...] | None = None
    energy_H: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def narrows(self) -> bool:
        return any(kept is not None for kept in (self.hidden_H, self.groups, self.neurons))


def cut(model: Any, kept: Kept, dtype: torch.dtype) -> Any:
    """The smaller model, on the meta device but for its weights: good to be saved, not to be run.

    Raises StudentError: a part of the model is of no known kind, or does not stand a smaller size.
    """
    small = _empty(smaller_config(model.config, kept), dtype)
    layers = _prefix(model)
    weights = model.state_dict()
    chosen: dict[str, torch.Tensor] = {}
    for name in small.state_dict():
        source, index = _source(name, layers, kept)
        tensor = weights[source]
        if kept.narrows:
            tensor = _narrowed(model, tensor, source, kept, index)
        chosen[name] = tensor.to(dtype).contiguous()
    try:
        small.load_state_dict(chosen, assign=True)
    except RuntimeError as error:
        raise _no_way(str(error).splitlines()[-1].strip()) from None
    small.tie_weights()
    small.generation_config = model.generation_config
    return small


def smaller_config(config: Any, kept: Kept) -> Any:
    """Raises StudentError: the family's own rules do not allow these sizes."""
    if config.get_text_config() is not config:
        raise _no_way("the model is more than a language model")
    small, depth = copy.deepcopy(config), config.num_hidden_layers
    for name, value in config.to_dict().items():
        # layer_types and the like: one entry a layer
        if "layer" in name and isinstance(value, (list, tuple)) and len(value) == depth:
            setattr(small, name, [value[i] for i in kept.layers])
    small.num_hidden_layers = len(kept.layers)
    if kept.narrows:
        small.head_dim = head_dim(config)
    if kept.hidden_H is not None:
        small.hidden_size = len(kept.hidden_H)
    if kept.groups is not None:
        groups = len(kept.groups[0])
        small.num_attention_heads = groups * (config.num_attention_heads // groups_in(config))
        small.num_key_value_heads = groups
    if kept.neurons is not None:
        small.intermediate_size = len(kept.neurons[0])
    try:
        return type(config).from_dict(small.to_dict())
    except (ValueError, TypeError, StrictDataclassError) as error:
        why = str(error).strip().splitlines()[-1]
        raise _no_way(why.strip().removeprefix("ValueError: ").rstrip(".")) from None


def head_dim(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def groups_in(config: Any) -> int:
    """Key-value heads, each with the query heads that read it."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def neurons_in(config: Any) -> int:
    """0 where layers differ in it, or where it has another name."""
    found = getattr(config, "intermediate_size", None)
    return found if isinstance(found, int) else 0


def _empty(config: Any, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def _prefix(model: Any) -> str:
    layers = decoder_layers(model)
    name: str = next(name for name, module in model.named_modules() if module is layers)
    return f"{name}."


def _source(name: str, layers: str, kept: Kept) -> tuple[str, int]:
    """A tensor's name in the larger model, and which of the layers that stay it is in."""
    if not name.startswith(layers):
        return name, 0
    index, rest = name.removeprefix(layers).split(".", 1)
    return f"{layers}{kept.layers[int(index)]}.{rest}", int(index)


def _narrowed(model: Any, tensor: torch.Tensor, name: str, kept: Kept, index: int) -> torch.Tensor:
    module_name, _, what = name.rpartition(".")
    leaf = module_name.rpartition(".")[2]
    if leaf in HEAD_NORMS and tensor.shape == (head_dim(model.config),):
        return tensor
    if leaf in NORMS and tensor.ndim == 1:
        return _narrowed_norm(model, tensor, module_name, kept)
    if leaf not in AXES or what not in ("weight", "bias"):
        raise _no_way(f"{name} is of no known kind")
    for dim, axis in enumerate(AXES[leaf][: tensor.ndim]):
        chosen = _indices(axis, model.config, kept, index)
        if chosen is not None:
            tensor = tensor.index_select(dim, chosen.to(tensor.device))
    return tensor * _embedding_factor(model, kept) if leaf == "embed_tokens" else tensor


def _indices(axis: str, config: Any, kept: Kept, index: int) -> torch.Tensor | None:
    """Of the rows or columns that stay; None where all do. Parts of an axis are joined by +."""
    parts = axis.split("+")
    dim, groups = head_dim(config), groups_in(config)
    heads = config.num_attention_heads
    sizes = {"heads": heads * dim, "groups": groups * dim, "neurons": neurons_in(config)}
    chosen, start = [], 0
    for part in parts:
        if part == "hidden":
            return kept.hidden_H
        if part == "neurons" and kept.neurons is not None:
            chosen.append(start + kept.neurons[index])
        elif part in ("heads", "groups") and kept.groups is not None:
            width = sizes[part] // groups
            steps = torch.arange(width)
            chosen.append((start + kept.groups[index][:, None] * width + steps).flatten())
        else:
            return None
        start += sizes[part]
    return torch.cat(chosen)


def _narrowed_norm(model: Any, gain_H: torch.Tensor, name: str, kept: Kept) -> torch.Tensor:
    if kept.hidden_H is None:
        return gain_H
    chosen_H = kept.hidden_H.to(gain_H.device)
    factor = 1.0
    if name in kept.energy_H:
        energy_H, eps = kept.energy_H[name], getattr(model.config, "rms_norm_eps", 0.0)
        stays = (energy_H[kept.hidden_H].mean() + eps) / (energy_H.mean() + eps)
        factor = float(stays.sqrt())
    if name.rpartition(".")[2] == "norm" and tied(model):
        factor /= _embedding_factor(model, kept)
    offset = _gain_offset(model.get_submodule(name))
    gain = (gain_H.index_select(0, chosen_H).float() + offset) * factor - offset
    return gain.to(gain_H.dtype)


def _gain_offset(norm: Any) -> float:
    """Gemma stores its gains less one."""
    return 1.0 if type(norm).__name__.startswith("Gemma") else 0.0


def _embedding_factor(model: Any, kept: Kept) -> float:
    """What makes up for an embedding that is multiplied by sqrt(H)."""
    scale = getattr(model.get_input_embeddings(), "scalar_embed_scale", 1.0)
    if kept.hidden_H is None or scale == 1.0:
        return 1.0
    return float((model.config.hidden_size / len(kept.hidden_H)) ** 0.5)


def _no_way(why: str) -> StudentError:
    return StudentError(
        f"cannot be pruned so ({why})",
        where="student.prune",
        fix="prune layers alone, or sizes that the family allows",
    )
