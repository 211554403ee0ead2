"""The teacher at work on a server: its best tokens at every target, asked for as training needs
them.

Shapes: N target tokens of a batch, n of a row, K entries a token.
"""

from __future__ import annotations

import numpy as np
import torch

from mwalimu.config import TeacherConfig
from mwalimu.data.collate import Batch
from mwalimu.data.vocabulary import vocabulary_size
from mwalimu.errors import TeacherError
from mwalimu.finetune.teacher.rows import JobRows, with_answer
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.objectives.targets import SparseTarget
from mwalimu.teachers.prompt_scores import (
    Array,
    Question,
    Scores,
    ServedScores,
    probe_ids,
)
from mwalimu.teachers.tokenizer import tokenizer_of

NO_LIMIT = 1 << 30  # how long a prompt may be, only the server knows


class ServedTeacherScores:
    """Prompts are written by the template of `teacher.tokenizer`, answers are the row's own ids.

    Rows of a batch are asked for at once. An answer that the server refuses ends the training: to
    go on without what the objective is about would be another training.
    """

    hidden_size = 0
    waits = True

    def __init__(self, config: TeacherConfig, k: int, device: torch.device, rows: JobRows) -> None:
        """Raises TeacherError kinds where the server cannot score, before anything is learned."""
        self.device = device
        self._where = config.model
        tokenizer = tokenizer_of(config)
        self._own = rows.encoded_by(tokenizer, NO_LIMIT)
        vocabulary = min(vocabulary_size(tokenizer), vocabulary_size(rows.tokenizer))
        self._scores = ServedScores(config, k, vocabulary, probe_ids(tokenizer))

    def look(self, batch: Batch) -> TeacherView:
        """Raises TeacherUnreachable when the server stays away, other TeacherErrors for what it
        refuses."""
        rows = [with_answer(self._own.get(row.key), row) for row in batch.rows]
        found = self._scores.score([Question(row.ids, row.targets) for row in rows])
        scored = []
        for row, scores in zip(rows, found, strict=True):
            if isinstance(scores, str):
                raise TeacherError(
                    f"cannot score row {row.row_id} of {len(row)} tokens: {scores}",
                    where=self._where,
                    fix="give the server a longer context, or lower student.max_length",
                )
            scored.append(scores)
        return TeacherView(target=self._target(scored))

    def ahead(self, batch: Batch) -> TeacherView:
        return self.look(batch)

    def close(self) -> None:
        self._scores.close()

    def _target(self, scored: list[Scores]) -> SparseTarget:
        ids_NK = np.concatenate([scores.ids_nK for scores in scored])
        logp_NK = np.concatenate([scores.logp_nK for scores in scored])
        tail_N = np.concatenate([scores.tail_n for scores in scored])
        return SparseTarget(self._send(ids_NK), self._send(logp_NK), self._send(tail_N))

    def _send(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return (tensor.float() if tensor.is_floating_point() else tensor).to(self.device)
