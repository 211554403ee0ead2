"""Which layers, heads, neurons and channels stay, by their importance; and whether so many can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mwalimu.config import PruneConfig
from mwalimu.errors import StudentError
from mwalimu.finetune.student.cutting import Kept, groups_in, neurons_in
from mwalimu.finetune.student.importance import Importance


def choose_kept(prune: PruneConfig, config: Any, importance: Importance) -> Kept:
    """What stays of a model with this config.json.

    Raises StudentError: more is to stay than there is, or a part of a group of heads.
    """
    layers = _layers(prune, config.num_hidden_layers, importance.layers)
    _check_size(prune.hidden, config.hidden_size, "hidden")
    _check_size(prune.intermediate, neurons_in(config), "intermediate")
    return Kept(
        layers,
        hidden_H=None if prune.hidden is None else _best(importance.channels_H, prune.hidden),
        groups=_of_each(importance.groups_G, layers, _groups(prune.heads, config)),
        neurons=_of_each(importance.neurons_I, layers, prune.intermediate),
        energy_H=importance.energy_H,
    )


def _layers(prune: PruneConfig, depth: int, influence: Sequence[float]) -> tuple[int, ...]:
    wanted = prune.layers
    if wanted is None:
        return tuple(range(depth))
    if isinstance(wanted, tuple):
        _check_size(wanted[-1] + 1, depth, "layers")
        return wanted
    _check_size(wanted, depth, "layers")
    if prune.layers_by == "influence":
        scores = torch.tensor(influence, dtype=torch.float64)
        return tuple(_best(scores, wanted).tolist())
    # Even steps from the first layer to the last.
    return tuple(round(i * (depth - 1) / max(1, wanted - 1)) for i in range(wanted))


def _groups(heads: int | None, config: Any) -> int | None:
    """Heads that share keys and values stay or go together."""
    if heads is None:
        return None
    _check_size(heads, config.num_attention_heads, "heads")
    each = int(config.num_attention_heads) // groups_in(config)
    if heads % each:
        raise StudentError(
            f"heads go in groups of {each} that share keys and values, and {heads} are no groups",
            where="student.prune.heads",
            fix=f"use a multiple of {each}",
        )
    return heads // each


def _of_each(
    scores: Sequence[torch.Tensor], layers: Sequence[int], wanted: int | None
) -> tuple[torch.Tensor, ...] | None:
    if wanted is None:
        return None
    return tuple(_best(scores[layer], wanted) for layer in layers)


def _best(scores_X: torch.Tensor, wanted: int) -> torch.Tensor:
    """Indices, ascending; of equal ones the first."""
    return scores_X.argsort(descending=True, stable=True)[:wanted].sort().values


def _check_size(wanted: int | None, there: int, what: str) -> None:
    if wanted is not None and wanted > there:
        raise StudentError(
            f"{wanted} are to stay, and the model has {there}",
            where=f"student.prune.{what}",
            fix=f"ask for {there} or fewer",
        )
