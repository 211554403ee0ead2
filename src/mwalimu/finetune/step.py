"""Logits at the target positions, and the gradient of one optimiser step.

Most tokens of a row are prompt. Their logits are V numbers each and are never used, so the hidden
states are cut down to the target positions before the model's own head runs: a hook on the
decoder hands it N states instead of B*T, and soft caps and scales apply as ever. Whether a model
stands this is found by trying; one that does not runs whole.

Shapes: B rows, T tokens, N target tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from mwalimu.finetune.batches import Batch
from mwalimu.objectives.base import Term, cross_entropy_sum

# Two roundings of bfloat16 apart; a position mixed up is off by far more.
TOLERANCE = 0.02


class TargetLogits:
    """`logits_NV` of a batch, by the cheapest way that is right for this model."""

    def __init__(self, model: Any, *, autocast: bool = False) -> None:
        self.model = model
        self.causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.autocast = autocast
        self.compact = self._compacting_is_exact()

    def __call__(self, batch: Batch) -> torch.Tensor:
        with self._precision():
            if self.compact:
                return self._compact(batch.ids_BT, batch.positions_N)
            return self._whole(batch.ids_BT, batch.positions_N)

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def _whole(self, ids_BT: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
        logits_BTV = self.causal(input_ids=ids_BT, use_cache=False).logits
        return _rows_at(logits_BTV, positions_N)

    def _compact(self, ids_BT: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
        with self._cut_to(positions_N):
            logits_1NV = self.causal(input_ids=ids_BT, use_cache=False).logits
        return _rows_at(logits_1NV, slice(None))

    @contextmanager
    def _cut_to(self, positions_N: torch.Tensor) -> Iterator[None]:
        """Inside, the decoder's hidden states are (1, N, H): those at the positions."""

        def cut(_module: Any, _arguments: Any, output: Any) -> Any:
            output["last_hidden_state"] = _rows_at(output.last_hidden_state, positions_N)[None]
            return output

        decoder = getattr(self.causal, self.causal.base_model_prefix)
        hook = decoder.register_forward_hook(cut)
        try:
            yield
        finally:
            hook.remove()

    @torch.no_grad()
    def _compacting_is_exact(self) -> bool:
        """Tries both ways on two short rows; dropout is off and no random number is drawn."""
        was_training = self.model.training
        self.model.eval()
        device = self.model.device
        rows = self.causal.get_input_embeddings().weight.shape[0]
        ids_BT = torch.arange(1, 9, device=device).remainder(rows).view(2, 4)
        positions_N = torch.tensor([1, 2, 3, 5, 7], device=device)
        try:
            with self._precision():
                whole_NV = self._whole(ids_BT, positions_N).float()
                compact_NV = self._compact(ids_BT, positions_N).float()
        except (AttributeError, TypeError, IndexError, KeyError, ValueError, RuntimeError):
            return False
        finally:
            self.model.train(was_training)
        if whole_NV.shape != compact_NV.shape:
            return False
        # A whole that is not finite is the loss's to report, by name.
        return bool((whole_NV - compact_NV).abs().max() <= TOLERANCE * whole_NV.abs().max())


def _rows_at(states_BTX: torch.Tensor, positions: torch.Tensor | slice) -> torch.Tensor:
    flat = states_BTX.flatten(0, 1)
    return flat[positions] if isinstance(positions, slice) else flat.index_select(0, positions)


def accumulate(logits: TargetLogits, batches: Sequence[Batch]) -> list[torch.Tensor]:
    """Adds the gradient of the mean over all target tokens of `batches`; returns their sums.

    The sums stay on the device: reading them is the caller's one synchronisation of the step.
    """
    num_tokens = sum(batch.labels_N.numel() for batch in batches)
    sums = []
    for batch in batches:
        term = batch_term(logits, batch)
        (term.sum_nats / num_tokens).backward()  # type: ignore[no-untyped-call]
        sums.append(term.sum_nats.detach())
    return sums


def batch_term(logits: TargetLogits, batch: Batch) -> Term:
    return cross_entropy_sum(logits(batch), batch.labels_N)
