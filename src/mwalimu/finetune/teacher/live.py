"""The teacher at work beside the student: for what no cache holds, and for new answers.

The teacher sees a conversation as its own chat template and tokenizer write it. Where it has the
student's tokens, its answer is the student's row's, id for id, behind its own prompt; but where
maps of attention are compared, token by token, both read the student's row.

Shapes: N target tokens of a batch, M pieces of text that begin together, H the teacher's hidden
size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mwalimu.data.byte_spans import align, byte_lengths, chunk_starts
from mwalimu.data.collate import Batch, collate
from mwalimu.data.context import context_of
from mwalimu.data.loading import load_causal_lm
from mwalimu.data.tokenize import Encoded, prepare_tokenizer
from mwalimu.data.vocabulary import vocabulary_size
from mwalimu.finetune.teacher.rows import JobRows, answer_of, with_answer
from mwalimu.finetune.teacher.view import Needs, Starts, TeacherView
from mwalimu.objectives.attention_tap import AttentionTap
from mwalimu.objectives.cross_tokenizer import ChunkLikelihoods, RowChunks
from mwalimu.objectives.forward import Forward, States
from mwalimu.objectives.layers import HiddenTap
from mwalimu.objectives.packing import Packing
from mwalimu.objectives.targets import DenseTarget, LiveTarget, Target
from mwalimu.objectives.token_logprobs import token_logprobs
from mwalimu.teachers.loading import as_teacher

Load = Callable[[str], tuple[Any, Any]]
"""A name to a model and its tokenizer; raises CannotLoad."""


class LiveTeacher:
    """A frozen model of transformers on the student's device."""

    waits = False

    def __init__(
        self,
        needs: Needs,
        name: str,
        device: torch.device,
        rows: JobRows,
        *,
        autocast: bool,
        packings: Sequence[Packing] = (),
        load: Load = load_causal_lm,
    ) -> None:
        self.needs = needs
        self.rows = rows
        self.model, self.tokenizer = as_teacher(load, name)
        prepare_tokenizer(self.tokenizer)
        self.model.to(device).requires_grad_(False).eval()
        if needs.attention:  # its maps are of the student's rows, which are padded then
            packings = ()
        self.forward = Forward(self.model, autocast=autocast, packings=packings)
        both = (self.tokenizer, rows.tokenizer)
        self.vocabulary = min(map(vocabulary_size, both))
        text_config = self.model.config.get_text_config()
        self.hidden_size = int(text_config.hidden_size)
        self._own = rows.encoded_by(self.tokenizer, context_of(text_config))
        self._hidden = HiddenTap(self.model, needs.hidden)
        self._attention = AttentionTap(self.model, needs.attention) if needs.attention else None

    def close(self) -> None:
        """Its memory goes with it."""

    def ahead(self, batch: Batch) -> None:
        """It works on the device that the student works on."""

    @torch.no_grad()
    def look(self, batch: Batch) -> TeacherView:
        view = self._look_at_the_same(batch) if self.needs.same_tokens else TeacherView()
        if self.needs.other_tokens:
            own = self._look_at_its_own(batch)
            view = replace(view, chunks=own.chunks, starts=own.starts)
        return view

    def _look_at_the_same(self, batch: Batch) -> TeacherView:
        """Of the answers in the student's tokens."""
        seen = batch if self._attention else self._as_teacher_sees(batch)
        with ExitStack() as taps:
            hidden = taps.enter_context(self._hidden.at(seen.positions_N))
            attention: Mapping[int, Any] = {}
            if self._attention:
                attention = taps.enter_context(self._attention.at(seen.positions_N))
            states = self.forward(seen.ids_BT, seen.positions_N, seen.layout)
        target = self._to_target(states) if self.needs.target else None
        return TeacherView(target, dict(hidden), attention=dict(attention))

    def _to_target(self, states: States) -> Target:
        """Over the ids that mean something to both; padding behind them is no token."""
        if states.head is None:
            return DenseTarget(states.hidden_NX[:, : self.vocabulary])
        return LiveTarget(states.hidden_NX, replace(states.head, vocabulary=self.vocabulary))

    def _as_teacher_sees(self, batch: Batch) -> Batch:
        """The same answers behind the teacher's own prompts."""
        rows = [with_answer(self._own.get(row.key), row) for row in batch.rows]
        return self._collate(rows, batch)

    def _collate(self, rows: list[Encoded], batch: Batch) -> Batch:
        return collate(
            rows,
            pad_id=self.tokenizer.pad_token_id,
            device=batch.ids_BT.device,
            slack=self.forward.slack,
            on_policy=batch.on_policy,
        )

    def _look_at_its_own(self, batch: Batch) -> TeacherView:
        """Of the answers in the teacher's own tokens, laid beside the student's by their bytes."""
        known = [i for i, row in enumerate(batch.rows) if row.key in self._own]
        rows = [self._own[batch.rows[i].key] for i in known]
        device = batch.ids_BT.device
        if not rows:
            none = [RowChunks.none(row.targets) for row in batch.rows]
            nowhere = torch.zeros(0, dtype=torch.long, device=device)
            starts = Starts(nowhere, States(torch.zeros(0, self.vocabulary, device=device), None))
            return TeacherView(chunks=ChunkLikelihoods.of_rows(none, device), starts=starts)
        seen = self._collate(rows, batch)
        states = self.forward(seen.ids_BT, seen.positions_N, seen.layout)
        logp_N = token_logprobs(states.hidden_NX, states.head, seen.labels_N).cpu().numpy()
        pieces = self._lay_beside(batch, dict(zip(known, rows, strict=True)), logp_N)
        tokens, places, chunks = pieces
        at_M = torch.from_numpy(np.concatenate(places)).to(device)
        there = States(states.hidden_NX.index_select(0, at_M), states.head)
        starts = Starts(torch.from_numpy(np.concatenate(tokens)).to(device), there)
        return TeacherView(chunks=ChunkLikelihoods.of_rows(chunks, device), starts=starts)

    def _lay_beside(
        self, batch: Batch, own: Mapping[int, Encoded], logp_N: np.ndarray[Any, Any]
    ) -> tuple[list[Any], list[Any], list[RowChunks]]:
        """Where pieces begin among the student's targets and the teacher's, and their chunks."""
        none = np.zeros(0, dtype=np.int64)
        tokens, places, chunks = [none], [none], []
        at_student = at_teacher = 0
        for index, row in enumerate(batch.rows):
            found = RowChunks.none(row.targets)
            if (theirs := own.get(index)) is not None:
                lengths_S, lengths_T = self.rows.byte_lengths(row), self._byte_lengths(theirs)
                if lengths_S is not None and lengths_T is not None:
                    part = logp_N[at_teacher : at_teacher + theirs.targets]
                    found = RowChunks.between(part, lengths_T, lengths_S)
                    begin_T, begin_S = chunk_starts(*align(lengths_T, lengths_S))
                    tokens.append(begin_S + at_student)
                    places.append(begin_T + at_teacher)
                at_teacher += theirs.targets
            chunks.append(found)
            at_student += row.targets
        return tokens, places, chunks

    def _byte_lengths(self, row: Encoded) -> list[int] | None:
        ids = row.answer
        return byte_lengths(self.tokenizer, ids, answer_of(self.rows.examples[row.key]))
