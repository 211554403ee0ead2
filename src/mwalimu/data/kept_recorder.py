"""What is kept of a teacher's distribution, taken from the passes that generate its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mwalimu.data.kept import Arrays, Kept, uniforms
from mwalimu.data.pass_recorder import PassRecorder
from mwalimu.data.reduction import reduce


class KeptRecorder(PassRecorder):
    """Reduces each forward pass to what is `kept` of the first `vocabulary` logits.

    `keys` (16 bytes) decide the rows' draws, whatever is generated beside them.
    """

    def __init__(
        self, model: Any, kept: Kept, *, vocabulary: int, keys: Sequence[bytes], max_tokens: int
    ) -> None:
        super().__init__(model)
        self.kept = kept
        self.vocabulary = vocabulary
        self._uniforms_TBD: torch.Tensor | None = None
        if kept.draws:
            by_row = [uniforms(key, max_tokens, kept.draws) for key in keys]
            self._uniforms_TBD = torch.from_numpy(np.stack(by_row, 1)).to(model.device)
        self._found: list[dict[str, torch.Tensor]] = []

    def rows(self, answers_BT: Any) -> list[Arrays]:
        """Of each row's T tokens; `answers_BT` are the ids that `generate` added."""
        found = self._found[: self.end(answers_BT)]
        names = found[0].keys() if found else ()
        whole = {name: torch.stack([step[name] for step in found], 1).cpu() for name in names}
        by_name = {name: block_BTX.numpy() for name, block_BTX in whole.items()}
        return [
            {name: block_BTX[row] for name, block_BTX in by_name.items()}
            for row in range(len(answers_BT))
        ]

    def _reduce(self, logits_BV: Any, ids_B: Any) -> None:
        uniforms_BD = None if self._uniforms_TBD is None else self._uniforms_TBD[self.steps]
        # A column beyond the vocabulary is no token; a row that got one anyway is not used.
        labels_B = ids_B.clamp(max=self.vocabulary - 1)
        logits_BV = logits_BV[:, : self.vocabulary]
        self._found.append(reduce(logits_BV, labels_B, uniforms_BD, self.kept))
