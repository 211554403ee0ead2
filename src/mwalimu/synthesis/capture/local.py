"""A local teacher reads its answers once more, all tokens of a row at a time: the scoring pass.

Only the answers' tokens go through the head, a chunk of all rows' tokens at a time, and only what
is kept of them leaves the device.

Shapes: N target tokens of a batch, C of a chunk, V vocabulary, D draws, L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch

from mwalimu.config import Config, needed_signals
from mwalimu.data.collate import Batch, collate
from mwalimu.data.context import context_of
from mwalimu.data.examples import Example
from mwalimu.data.kept import Array, Arrays, Kept, uniforms
from mwalimu.data.loading import load_causal_lm, load_tokenizer
from mwalimu.data.longrope import rope_limit, sides
from mwalimu.data.reduction import reduce
from mwalimu.data.tokenize import Encoded, prepare_tokenizer
from mwalimu.data.vocabulary import vocabulary_fingerprint, vocabulary_size
from mwalimu.objectives.forward import Forward, States
from mwalimu.objectives.head_gradients import chunks
from mwalimu.objectives.layers import HiddenTap
from mwalimu.run import fingerprint, model_hashes
from mwalimu.signals import (
    DenseEncoding,
    Encoding,
    Hidden,
    HiddenEncoding,
    Identity,
    RealisedEncoding,
    SampledEncoding,
    Signal,
    TopKEncoding,
)
from mwalimu.synthesis.capture.arrays import signals_of
from mwalimu.synthesis.capture.scoring import (
    Result,
    Scored,
    encode,
    key_of_draws,
    spelled_lengths,
)
from mwalimu.teachers.loading import as_teacher


class LocalScorer:
    """`layers` are those whose states are kept, of `hidden`.

    The model is loaded when it is first needed, which is never where all signals are stored.
    """

    def __init__(self, config: Config, layers: Sequence[int] = ()) -> None:
        self.settings = config.signals
        self.names = needed_signals(config)
        self.kept = Kept.of(config)
        self.layers = tuple(layers)
        self.name = config.teacher.model
        self.tokenizer = local_tokenizer(self.name)
        self.vocabulary = self.kept.vocabulary or vocabulary_size(self.tokenizer)
        files = model_hashes(self.name)
        self.identity = Identity(
            teacher=self.name,
            kind="local",
            tokenizer=vocabulary_fingerprint(self.tokenizer, self.vocabulary),
            template=fingerprint(self.tokenizer.chat_template),
            vocabulary=self.vocabulary,
            temperature=self.kept.temperature,
            files=files,
            revision="" if files else str(self.model.config._commit_hash or ""),
        )

    @cached_property
    def model(self) -> Any:
        return as_teacher(load_causal_lm, self.name)[0]

    @cached_property
    def forward(self) -> Forward:
        return Forward(self.model)

    @cached_property
    def context(self) -> int:
        """In tokens."""
        return context_of(self.model.config)

    @cached_property
    def rope_limit(self) -> int | None:
        return rope_limit(self.model)

    def encoding(self, name: str) -> Encoding:
        settings = self.settings
        match name:
            case "sampled":
                return SampledEncoding(self.vocabulary, settings.draws)
            case "topk":
                return TopKEncoding(self.vocabulary, settings.k, settings.top_p)
            case "dense":
                return DenseEncoding(self.vocabulary)
            case "hidden":
                size = self.model.config.get_text_config().hidden_size
                return HiddenEncoding(self.layers, size, settings.hidden_dtype)
        return RealisedEncoding()

    def score(self, examples: Sequence[Example]) -> list[Result]:
        """Left out is a conversation that the template refuses or the context does not hold."""
        found: list[Any] = [encode(self.tokenizer, one, self.context) for one in examples]
        usable = [i for i, row in enumerate(found) if isinstance(row, Encoded)]
        usable.sort(key=lambda i: len(found[i].ids))
        for start in range(0, len(usable), self.settings.batch_size):
            batch = usable[start : start + self.settings.batch_size]
            for side in sides([len(found[i].ids) for i in batch], self.rope_limit):
                alike = [batch[i] for i in side]
                rows = [found[i] for i in alike]
                signals = self._score_batch(rows, [examples[i] for i in alike])
                for i, row, own in zip(alike, rows, signals, strict=True):
                    found[i] = Scored(row.key, row.target_crc, own)
        return found

    def close(self) -> None:
        self.__dict__.pop("forward", None)
        self.__dict__.pop("model", None)

    @torch.inference_mode()
    def _score_batch(
        self, rows: Sequence[Encoded], examples: Sequence[Example]
    ) -> Iterator[dict[str, Signal]]:
        batch = collate(rows, pad_id=self.tokenizer.pad_token_id, device=self.model.device)
        none: dict[int, torch.Tensor] = {}
        forward = self.forward  # its way is found by trying, which the tap must not see
        tap = HiddenTap(self.model, self.layers) if "hidden" in self.names else None
        with tap.at(batch.positions_N) if tap else nullcontext(none) as layers:
            states = forward(batch.ids_BT, batch.positions_N)
        arrays = self._reduced(states, batch, self._uniforms(rows, examples))
        if layers:
            states_NLH = torch.stack([layers[layer] for layer in self.layers], 1)
            arrays["states"] = states_NLH.float().cpu().numpy()
        ends = np.cumsum([row.targets for row in rows])
        for row, example, end in zip(rows, examples, ends.tolist(), strict=True):
            own = {name: array[end - row.targets : end] for name, array in arrays.items()}
            yield self._signals(own, row, example)

    def _uniforms(self, rows: Sequence[Encoded], examples: Sequence[Example]) -> Array | None:
        """[N, D]: what is drawn for a row depends on the row alone."""
        if not self.kept.draws:
            return None
        pairs = zip(rows, examples, strict=True)
        return np.concatenate(
            [uniforms(key_of_draws(one), row.targets, self.kept.draws) for row, one in pairs]
        )

    def _reduced(self, states: States, batch: Batch, uniforms_ND: Array | None) -> Arrays:
        if not self.kept.encodings:
            return {}
        device = batch.labels_N.device
        parts = []
        for part in chunks(len(batch.labels_N), self.vocabulary, device):
            own = States(states.hidden_NX[part], states.head)
            logits_CV = own.logits()[:, : self.vocabulary]
            draws_CD = None if uniforms_ND is None else torch.from_numpy(uniforms_ND[part])
            draws_CD = None if draws_CD is None else draws_CD.to(device)
            parts.append(reduce(logits_CV, batch.labels_N[part], draws_CD, self.kept))
        return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}

    def _signals(self, arrays: Arrays, row: Encoded, example: Example) -> dict[str, Signal]:
        lengths = None
        if "realised" in self.names:
            lengths = spelled_lengths(self.tokenizer, row, example)
        found = signals_of(arrays, lengths)
        if "states" in arrays:
            found["hidden"] = Hidden(arrays["states"])
        return found


def local_tokenizer(name: str) -> Any:
    """Of a model folder or a hub id, prepared. Raises UnknownTeacherModel."""
    tokenizer = as_teacher(load_tokenizer, name)
    prepare_tokenizer(tokenizer)
    return tokenizer
