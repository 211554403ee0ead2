"""Losses and gradients of a tiny pair in float64: whole models, a row at a time, no code of ours
but the encoding of the rows. Formulas as the papers have them; autograd does the gradients.

Shapes: n target tokens of a row, V vocabulary, H hidden, A heads, T tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM

from mwalimu.data.tokenize import Encoded

Gradients = dict[str, torch.Tensor]


class Seen(NamedTuple):
    """What a model makes of one row's target tokens."""

    logits_nV: torch.Tensor
    hidden_nH: tuple[torch.Tensor, ...]
    """By layer, from 0; the last is behind the final norm, so its layer is left out."""
    attention_nT: tuple[torch.Tensor, ...]
    """By layer, the mean over heads."""


def load(folder: Path) -> Any:
    """With attention that hands out its maps."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return model.double().eval()


def exact_copy(model: Any) -> Any:
    """A student in training, as it is now; its last gradients are gone."""
    twin = copy.deepcopy(model).double().eval()
    twin.set_attn_implementation("eager")
    twin.zero_grad()
    return twin


def see(model: Any, row: Encoded) -> Seen:
    found = model(
        input_ids=torch.tensor([row.ids]), output_hidden_states=True, output_attentions=True
    )
    at = [i - 1 for i, learned in enumerate(row.labels_mask) if learned and i]
    return Seen(
        found.logits[0][at].double(),
        tuple(state[0][at] for state in found.hidden_states[1:-1]),
        tuple(maps[0].mean(0)[at] for maps in found.attentions),
    )


def labels_of(row: Encoded) -> torch.Tensor:
    return torch.tensor([i for i, on in zip(row.ids, row.labels_mask, strict=True) if on])


def gradients(
    model: Any, rows: Sequence[Encoded], loss_of: Callable[[Seen, Encoded], torch.Tensor]
) -> tuple[float, Gradients]:
    """The mean over all target tokens of `loss_of`, which is a row's sum, and its gradient."""
    twin = exact_copy(model)
    tokens = sum(len(labels_of(row)) for row in rows)
    total = torch.stack([loss_of(see(twin, row), row) for row in rows]).sum() / tokens
    total.backward()
    return float(total.detach()), {n: p.grad for n, p in twin.named_parameters()}


def cross_entropy(seen: Seen, row: Encoded, tau: float = 1.0) -> torch.Tensor:
    logq_nV = (seen.logits_nV / tau).log_softmax(1)
    return -logq_nV[torch.arange(len(logq_nV)), labels_of(row)].sum()


def kl(p_nV: torch.Tensor, q_nV: torch.Tensor) -> torch.Tensor:
    """One value a token; of p where it is not 0."""
    safe_nV = p_nV.clamp(min=1e-300)
    return (p_nV * (safe_nV.log() - q_nV.log())).sum(1)


def compare(model: Any, expected: Gradients, tolerance: float = 1e-4) -> None:
    """To `tolerance` of the greatest value of each; a parameter that nothing reaches has none."""
    found = {n: p.grad for n, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    reached = 0
    for name, grad in expected.items():
        own = found[name]
        if grad is None or not grad.any():
            assert own is None or not own.any(), name
            continue
        assert own is not None, name
        scale = float(grad.abs().max())
        assert float((own.double() - grad).abs().max()) <= tolerance * scale, name
        reached += 1
    assert reached
