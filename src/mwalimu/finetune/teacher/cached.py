"""The teacher's distribution over a batch's targets, from the cache.

Rows are asked for by key and checked by the CRC of their target ids, so no shuffling, packing or
truncation can hand a row another one's signals.

Shapes: N target tokens of a batch, K entries, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from mwalimu.data.collate import Batch
from mwalimu.data.layout import send
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import Needs, TeacherView
from mwalimu.objectives.cross_tokenizer import ChunkLikelihoods, RowChunks
from mwalimu.objectives.targets import DenseTarget, SampledTarget, SparseTarget, Target
from mwalimu.signals import HiddenEncoding, Realised, Request, SignalReader
from mwalimu.signals.signal import Array, DenseBatch, HiddenBatch, SampledBatch, TopKBatch

DISTRIBUTIONS = ("sampled", "topk", "dense")


class CachedTeacher:
    """Readers by encoding, one a split; a row that none of them knows is learned as text alone.

    `spelled` knows how many bytes the student's tokens are, for teachers with other tokens.
    """

    waits = False

    def __init__(
        self,
        needs: Needs,
        folders: Mapping[str, Sequence[Path]],
        device: torch.device,
        spelled: JobRows,
    ) -> None:
        self.needs = needs
        self.device = device
        self.spelled = spelled
        self.readers = {
            name: [SignalReader.open(folder) for folder in paths] for name, paths in folders.items()
        }
        self.hidden_size = 0
        for reader in self.readers.get("hidden", []):
            assert isinstance(reader.encoding, HiddenEncoding)
            self.hidden_size = reader.encoding.size
        self._chunks: dict[bytes, RowChunks] = {}

    def look(self, batch: Batch) -> TeacherView:
        """Raises SignalMismatch if what is kept of a row is about other tokens."""
        hidden, hidden_at = self._hidden(batch) if self.needs.hidden else ({}, None)
        return TeacherView(
            target=self._target(batch) if self.needs.target else None,
            hidden=hidden,
            hidden_at=hidden_at,
            chunks=self._chunk_likelihoods(batch) if self.needs.chunks else None,
        )

    def ahead(self, batch: Batch) -> TeacherView:
        return self.look(batch)

    def close(self) -> None:
        """Its files are mapped, not open."""

    @cached_property
    def _distribution(self) -> list[SignalReader]:
        return next(r for name, r in self.readers.items() if name in DISTRIBUTIONS)

    def _target(self, batch: Batch) -> Target:
        found, known_N = _gather(self._distribution, batch)
        if not known_N.all():
            found = _with_text(found, known_N, _labels_N(batch.rows))
        return self._to_target(found)

    def _hidden(self, batch: Batch) -> tuple[dict[int, torch.Tensor], torch.Tensor | None]:
        """By layer, and of which target tokens: nothing can stand for states that are not there."""
        readers = self.readers["hidden"]
        found, known_N = _gather(readers, batch)
        encoding = readers[0].encoding
        assert isinstance(found, HiddenBatch) and isinstance(encoding, HiddenEncoding)
        states_LNH = self._send(found.states_NLH).unbind(1)
        known = None if known_N.all() else self._send(np.flatnonzero(known_N))
        return dict(zip(encoding.layers, states_LNH, strict=True)), known

    def _chunk_likelihoods(self, batch: Batch) -> ChunkLikelihoods:
        rows = [self._row_chunks(row) for row in batch.rows]
        return ChunkLikelihoods.of_rows(rows, self.device)

    def _row_chunks(self, row: Encoded) -> RowChunks:
        if row.key not in self._chunks:
            self._chunks[row.key] = self._find_chunks(row)
        return self._chunks[row.key]

    def _find_chunks(self, row: Encoded) -> RowChunks:
        """Its tokens are the teacher's, so only the key tells whose they are."""
        lengths_S = self.spelled.byte_lengths(row)
        reader = next((r for r in self.readers["realised"] if r.has(row.key)), None)
        if lengths_S is None or reader is None:
            return RowChunks.none(row.targets)
        found = reader.row(row.key)
        assert isinstance(found, Realised)
        return RowChunks.between(found.logprobs, found.byte_lengths, lengths_S)

    def _to_target(self, found: object) -> Target:
        if isinstance(found, SampledBatch):
            return SampledTarget(*map(self._send, found))
        if isinstance(found, TopKBatch):
            return SparseTarget(*map(self._send, found))
        assert isinstance(found, DenseBatch)
        return DenseTarget(self._send(found.logp_NV))

    def _send(self, array: Array) -> torch.Tensor:
        return send(array, self.device)


def _gather(readers: Sequence[SignalReader], batch: Batch) -> tuple[object, Array]:
    """What is kept of the batch's rows, and of which target tokens that is.

    A batch is of one split, whose reader knows most of its rows: another one may know some, where
    a conversation is in both.
    """
    known_RB = [[reader.has(row.key) for row in batch.rows] for reader in readers]
    reader, known_B = max(zip(readers, known_RB, strict=True), key=lambda pair: sum(pair[1]))
    rows = [row for row, known in zip(batch.rows, known_B, strict=True) if known]
    found = reader.gather([Request(row.key, row.target_crc, row.targets) for row in rows])
    return found, np.repeat(known_B, [row.targets for row in batch.rows])


def _labels_N(rows: Sequence[Encoded]) -> Array:
    """The batch's own are on its device, which reading them would wait for."""
    kept = [
        np.frombuffer(row.tokens, np.intc)[1:][np.frombuffer(row.learned, bool)[1:]] for row in rows
    ]
    return np.concatenate(kept).astype(np.int64)


def _with_text(found: object, known_N: Array, labels_N: Array) -> object:
    """The tokens that the teacher did not score get all the mass on their label."""
    text_N = ~known_N
    if isinstance(found, DenseBatch):
        logp_NV = _spread(found.logp_NV, known_N, -np.inf)
        logp_NV[text_N, labels_N[text_N]] = 0.0
        return DenseBatch(logp_NV)
    assert isinstance(found, SampledBatch | TopKBatch)
    ids_NK = _spread(found.ids_NK, known_N, 0)
    ids_NK[text_N, 0] = labels_N[text_N]
    if isinstance(found, SampledBatch):
        weight_NK = _spread(found.weight_NK, known_N, 0.0)
        weight_NK[text_N, 0] = 1.0
        return SampledBatch(ids_NK, weight_NK)
    logp_NK = _spread(found.logp_NK, known_N, -np.inf)
    logp_NK[text_N, 0] = 0.0
    return TopKBatch(ids_NK, logp_NK, _spread(found.tail_N, known_N, -np.inf))


def _spread(array: Array, known_N: Array, fill: float) -> Array:
    """The rows of `array` in the places that are known; at least one column."""
    columns = (max(1, array.shape[1]),) if array.ndim == 2 else ()
    out = np.full((len(known_N), *columns), fill, array.dtype)
    if array.size:
        out[known_N] = array
    return out
