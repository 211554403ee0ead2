"""The student's states at the target positions, and its head beside them.

Most tokens of a row are prompt. Their logits are V numbers each and are never used, so the states
are cut down to the target positions before any head runs. A model whose head is a plain matrix
hands out states and head, and the loss projects them; of another one a hook on the decoder makes
its own head see N states in place of B*T; one that stands neither runs whole. Which of them gives
the model's own logits is found by trying.

Shapes: B rows, T tokens, N target tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from mwalimu.objectives.head import Head, find_head

# Two roundings of bfloat16 apart; a position mixed up is off by far more.
TOLERANCE = 0.02


class States(NamedTuple):
    """`hidden_NX` are [N, H] before `head`; without a head they are logits, [N, V]."""

    hidden_NX: torch.Tensor
    head: Head | None

    def logits(self) -> torch.Tensor:
        return self.hidden_NX if self.head is None else self.head.logits(self.hidden_NX)


class Forward:
    """`States` of a model, by the cheapest way that is right for it."""

    def __init__(self, model: Any, *, autocast: bool = False) -> None:
        self.model = model
        self.causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.autocast = autocast
        self._way: Callable[[torch.Tensor, torch.Tensor], States] = self._find_way()

    def __call__(self, ids_BT: torch.Tensor, positions_N: torch.Tensor) -> States:
        """`positions_N` are those of the flattened [B*T] that predict a target."""
        with self._precision():
            return self._way(ids_BT, positions_N)

    @property
    def fused(self) -> bool:
        """Whether the loss can run the head itself."""
        return self._way == self._before_head

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def _before_head(self, ids_BT: torch.Tensor, positions_N: torch.Tensor) -> States:
        head = find_head(self.model)
        assert head is not None
        decoder = getattr(self.causal, self.causal.base_model_prefix)
        hidden_BTH = decoder(input_ids=ids_BT, use_cache=False).last_hidden_state
        hidden_NH = _rows_at(hidden_BTH, positions_N)
        # The last norm hands out full precision, which the head's own product would not keep.
        return States(hidden_NH.bfloat16() if self.autocast else hidden_NH, head)

    def _compact(self, ids_BT: torch.Tensor, positions_N: torch.Tensor) -> States:
        with self._cut_to(positions_N):
            logits_1NV = self.causal(input_ids=ids_BT, use_cache=False).logits
        return States(logits_1NV.flatten(0, 1), None)

    def _whole(self, ids_BT: torch.Tensor, positions_N: torch.Tensor) -> States:
        logits_BTV = self.causal(input_ids=ids_BT, use_cache=False).logits
        return States(_rows_at(logits_BTV, positions_N), None)

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
    def _find_way(self) -> Callable[[torch.Tensor, torch.Tensor], States]:
        """Tries on two short rows; dropout is off and no random number is drawn."""
        was_training = self.model.training
        self.model.eval()
        device = self.model.device
        rows = self.causal.get_input_embeddings().weight.shape[0]
        ids_BT = torch.arange(1, 9, device=device).remainder(rows).view(2, 4)
        positions_N = torch.tensor([1, 2, 3, 5, 7], device=device)
        ways = [self._compact]
        if find_head(self.model) is not None:
            ways.insert(0, self._before_head)
        try:
            with self._precision():
                whole_NV = self._whole(ids_BT, positions_N).logits().float()
                fits = (way for way in ways if _gives(way, ids_BT, positions_N, whole_NV))
                return next(fits, self._whole)
        finally:
            self.model.train(was_training)


def _gives(
    way: Callable[[torch.Tensor, torch.Tensor], States],
    ids_BT: torch.Tensor,
    positions_N: torch.Tensor,
    whole_NV: torch.Tensor,
) -> bool:
    try:
        logits_NV = way(ids_BT, positions_N).logits().float()
    except (AttributeError, TypeError, IndexError, KeyError, ValueError, RuntimeError):
        return False
    if logits_NV.shape != whole_NV.shape:
        return False
    # A whole that is not finite is the loss's to report, by name.
    return bool((whole_NV - logits_NV).abs().max() <= TOLERANCE * whole_NV.abs().max())


def _rows_at(states_BTX: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
    return states_BTX.flatten(0, 1).index_select(0, positions_N)
