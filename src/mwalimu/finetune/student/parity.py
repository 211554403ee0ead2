"""Whether a merged model says what base and adapter said, on a few rows of the job.

Merging is exact on paper. In numbers a merged weight is rounded to the precision u of the folder,
and sums run in another order: each of the 2 L blocks of L layers, and the head, adds a rounding
error to what passes through. What one of them grows to on its way to the logits is measured: the
embeddings are multiplied by 1 + u or 1 - u at random, and the logits move by a share A. As a random
walk,

    tolerance = SAFETY * A * sqrt(2 L + 1)

where u is at least sqrt(H) roundings of float32, for sums of H terms. A merge that goes wrong,
rather than rounds, is off by what the adapter does.

Shapes: N tokens of all rows, V vocabulary, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mwalimu.data.loading import causal_lm_of
from mwalimu.errors import TrainingError

# Of 72 tiny models, adapters and precisions the furthest was off by 0.7 A sqrt(2 L + 1).
SAFETY = 2
PROBE_ROWS, PROBE_TOKENS = 4, 64
UNIT = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


class Parity:
    """What a model says to some rows of token ids, to be compared with what it becomes."""

    def __init__(self, model: Any, rows: Sequence[Sequence[int]], *, autocast: bool) -> None:
        self.autocast = autocast
        self.rows = [list(ids[:PROBE_TOKENS]) for ids in rows[:PROBE_ROWS]]
        if self.rows:
            self.logits_NV = self._logits(model)
            self.tolerance = SAFETY * self._amplified(model)

    def check(self, model: Any) -> dict[str, float]:
        """merge_error and merge_tolerance, as shares of the logits (RMS); nothing without rows.

        Raises TrainingError: the error is above the tolerance.
        """
        if not self.rows:
            return {}
        error = self._distance(self._logits(model))
        if not error <= self.tolerance:  # which is so for NaN too
            raise TrainingError(
                f"the merged student's logits are {error:.2g} of their size away from those that "
                f"were trained, more than the {self.tolerance:.2g} that rounding explains",
                where="student.publish",
                fix="set it to adapter; the checkpoints are whole and nothing is trained again",
            )
        return {"merge_error": error, "merge_tolerance": self.tolerance}

    def _amplified(self, model: Any) -> float:
        """A sqrt(2 L + 1)."""
        base = causal_lm_of(model)
        config, stored = base.config.get_text_config(), base.dtype
        computed = torch.bfloat16 if self.autocast else stored
        summed = UNIT[torch.float32] * math.sqrt(config.hidden_size)
        unit = max(UNIT[stored], UNIT[computed], summed)
        hook = base.get_input_embeddings().register_forward_hook(_jolt(unit))
        try:
            moved = self._distance(self._logits(model))
        finally:
            hook.remove()
        return moved * math.sqrt(2 * config.num_hidden_layers + 1)

    def _distance(self, other_NV: torch.Tensor) -> float:
        return _rms(other_NV - self.logits_NV) / max(_rms(self.logits_NV), 1e-30)

    @torch.no_grad()
    def _logits(self, model: Any) -> torch.Tensor:
        was_training = model.training
        model.eval()
        with self._precision(model):
            rows = [torch.tensor([ids], device=model.device) for ids in self.rows]
            logits = [model(input_ids=ids_1T).logits[0].float() for ids_1T in rows]
        model.train(was_training)
        return torch.cat(logits)

    def _precision(self, model: Any) -> AbstractContextManager[Any]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(model.device.type, dtype=torch.bfloat16)


def _jolt(unit: float) -> Callable[..., torch.Tensor]:
    """A forward hook that moves each number by `unit` of itself, up or down by a fixed chance."""

    def hook(_module: Any, _args: Any, output_BTH: torch.Tensor) -> torch.Tensor:
        chance = torch.Generator().manual_seed(0)
        up_BTH = torch.randint(0, 2, output_BTH.shape, generator=chance).to(output_BTH.device)
        moved_BTH = output_BTH.double() * (1 + unit * (2 * up_BTH - 1))
        return moved_BTH.to(output_BTH.dtype)

    return hook


def _rms(logits_NV: torch.Tensor) -> float:
    """A constant that is added to all logits of a token changes nothing, and is left out."""
    centred_NV = logits_NV - logits_NV.mean(1, keepdim=True)
    return float(centred_NV.square().mean().sqrt())
