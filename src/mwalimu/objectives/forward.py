"""The student's states at the target positions, and its head beside them.

Most tokens of a row are prompt. Their logits are V numbers each and are never used, so the states
are cut down to the target positions before any head runs. A model whose head is a plain matrix
hands out states and head, and the loss projects them; of another one a hook on the decoder makes
its own head see N states in place of B*T; one that stands neither runs whole. Which of them gives
the model's own logits is found by trying; and so is whether rows may be packed.

Shapes: B rows, T tokens (or 1 line of T places), N target tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch

from mwalimu.data.layout import PADDED, Layout
from mwalimu.data.loading import causal_lm_of
from mwalimu.objectives.head import Head, find_head
from mwalimu.objectives.packing import Packing
from mwalimu.objectives.packing_trial import Unpacked, find_packing
from mwalimu.objectives.trimming import feed_forward_of, last_layer, only_at

TOLERANCES = {2: 0.02, 4: 1e-3, 8: 1e-3}
"""By the bytes of a logit, as a share of the largest: some roundings. A position mixed up is off by
far more."""


class States(NamedTuple):
    """`hidden_NX` are [N, H] before `head`; without a head they are logits, [N, V]."""

    hidden_NX: torch.Tensor
    head: Head | None

    def logits(self) -> torch.Tensor:
        return self.hidden_NX if self.head is None else self.head.logits(self.hidden_NX)


Way = Callable[[dict[str, Any], torch.Tensor], States]
"""From what the model is called with, and the positions."""


class Forward:
    """`States` of a model, by the cheapest way that is right for it.

    With `packings` it takes batches that `collate` packed with its `slack`, if the model gives the
    same for them as for each row alone; else `why_padded` says why not.
    """

    def __init__(
        self, model: Any, *, autocast: bool = False, packings: Sequence[Packing] = ()
    ) -> None:
        self.model = model
        self.causal = causal_lm_of(model)
        self.autocast = autocast
        self._last_layer = last_layer(model)
        self._way: Way
        self.fused: bool
        self._find_way()
        self._packing: Packing | None = None
        self.why_padded = ""
        if packings:
            self._pack(packings)

    def __call__(
        self, ids_BT: torch.Tensor, positions_N: torch.Tensor, layout: Layout | None = None
    ) -> States:
        """`positions_N` are those of the flattened [B*T] that predict a target."""
        inputs: dict[str, Any] = {"input_ids": ids_BT, "use_cache": False}
        if layout is not None and self._packing is not None:
            inputs |= self._packing.inputs(layout)
        with self._precision():
            return self._way(inputs, positions_N)

    @property
    def slack(self) -> int:
        """Places of padding in a block of the batches that it takes."""
        return PADDED if self._packing is None else self._packing.slack

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def _before_head(self, inputs: dict[str, Any], positions_N: torch.Tensor) -> States:
        head = find_head(self.model)
        assert head is not None
        decoder = getattr(self.causal, self.causal.base_model_prefix)
        hidden_BTH = decoder(**inputs).last_hidden_state
        hidden_NH = _rows_at(hidden_BTH, positions_N)
        # The last norm hands out full precision, which the head's own product would not keep.
        return States(hidden_NH.bfloat16() if self.autocast else hidden_NH, head)

    def _compact(self, inputs: dict[str, Any], positions_N: torch.Tensor) -> States:
        with self._cut_to(positions_N):
            logits_1NV = self.causal(**inputs).logits
        return States(logits_1NV.flatten(0, 1), None)

    def _whole(self, inputs: dict[str, Any], positions_N: torch.Tensor) -> States:
        logits_BTV = self.causal(**inputs).logits
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

    def _trimmed(self, way: Way, inputs: dict[str, Any], positions_N: torch.Tensor) -> States:
        part = feed_forward_of(self._last_layer)
        with nullcontext() if part is None else only_at(part, positions_N):
            return way(inputs, positions_N)

    @torch.no_grad()
    def _find_way(self) -> None:
        """Tries on two short rows; dropout is off and no random number is drawn.

        `fused` tells whether the loss can run the head itself.
        """
        device = self.model.device
        rows = self.causal.get_input_embeddings().weight.shape[0]
        ids_BT = torch.arange(1, 9, device=device).remainder(rows).view(2, 4)
        inputs = {"input_ids": ids_BT, "use_cache": False}
        positions_N = torch.tensor([1, 2, 3, 5, 7], device=device)
        ways: list[Way] = [self._compact]
        if find_head(self.model) is not None:
            ways.insert(0, self._before_head)
        with in_evaluation(self.model), self._precision():
            whole_NV = self._whole(inputs, positions_N).logits()
            fits = (way for way in ways if _gives(way, inputs, positions_N, whole_NV))
            self._way = next(fits, self._whole)
            self.fused = self._way == self._before_head
            trimmed = partial(self._trimmed, self._way)
            if _gives(trimmed, inputs, positions_N, whole_NV):
                self._way = trimmed

    def _pack(self, packings: Sequence[Packing]) -> None:
        def logits(
            ids_BT: torch.Tensor, positions_N: torch.Tensor, more: dict[str, Any]
        ) -> torch.Tensor:
            inputs = {"input_ids": ids_BT, "use_cache": False, **more}
            return self._way(inputs, positions_N).logits().float()

        with in_evaluation(self.model), self._precision():
            try:
                self._packing = find_packing(self.causal, packings, logits)
            except Unpacked as why:
                self.why_padded = str(why)


@contextmanager
def in_evaluation(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _gives(
    way: Way, inputs: dict[str, Any], positions_N: torch.Tensor, whole_NV: torch.Tensor
) -> bool:
    try:
        logits_NV = way(inputs, positions_N).logits()
    except (AttributeError, TypeError, IndexError, KeyError, ValueError, RuntimeError):
        return False
    if logits_NV.shape != whole_NV.shape:
        return False
    most = TOLERANCES[whole_NV.itemsize] * whole_NV.float().abs().max()
    # A whole that is not finite is the loss's to report, by name.
    return bool((whole_NV.float() - logits_NV.float()).abs().max() <= most)


def _rows_at(states_BTX: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
    return states_BTX.flatten(0, 1).index_select(0, positions_N)
