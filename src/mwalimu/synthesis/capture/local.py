"""A local teacher reads its answers once more, all tokens of a row at a time: the scoring pass.

Only the answer's tokens go through the head, a chunk at a time, and only what is kept of them
leaves the device.

Shapes: n target tokens of a row, N of a batch, C of a chunk, V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jinja2 import TemplateError

from mwalimu.config import Config, capture_temperature, needed_signals
from mwalimu.data.byte_spans import byte_lengths
from mwalimu.data.collate import collate
from mwalimu.data.examples import Example
from mwalimu.data.loading import CannotLoad, load_causal_lm
from mwalimu.data.tokenize import Encoded, encode_example, prepare_tokenizer
from mwalimu.data.vocabulary import vocabulary_fingerprint, vocabulary_size
from mwalimu.errors import NoTargetTokens, UnknownTeacherModel
from mwalimu.objectives import drawing
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
from mwalimu.synthesis.capture.capture import Scored

LARGEST_CONTEXT = 1 << 30


class LocalScorer:
    """Loads the teacher; `layers` are those whose states are kept, of `hidden`."""

    def __init__(self, config: Config, layers: Sequence[int] = ()) -> None:
        self.settings = config.signals
        self.temperature = capture_temperature(config)
        self.names = needed_signals(config)
        self.layers = tuple(layers)
        name = config.teacher.model
        try:
            self.model, self.tokenizer = load_causal_lm(name)
        except CannotLoad as error:
            raise UnknownTeacherModel(
                f"cannot be loaded as a teacher ({error})",
                where=name,
                fix="name a transformers folder or a hub id in teacher.model",
            ) from None
        prepare_tokenizer(self.tokenizer)
        self.forward = Forward(self.model)
        self.vocabulary = vocabulary_size(self.tokenizer)
        self.identity = Identity(
            teacher=name,
            kind="local",
            tokenizer=vocabulary_fingerprint(self.tokenizer),
            template=fingerprint(self.tokenizer.chat_template),
            vocabulary=self.vocabulary,
            temperature=self.temperature,
            files=model_hashes(name),
            revision=str(getattr(self.model.config, "_commit_hash", None) or ""),
        )
        self._tap = HiddenTap(self.model, self.layers) if "hidden" in self.names else None

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

    def score(self, examples: Sequence[Example]) -> list[Scored | None]:
        """None for a conversation that the template refuses or the context does not hold."""
        encoded = [self._encode(example) for example in examples]
        usable = [i for i, row in enumerate(encoded) if row is not None]
        usable.sort(key=lambda i: len(encoded[i].ids))  # type: ignore[union-attr]
        found: list[Scored | None] = [None] * len(examples)
        for start in range(0, len(usable), self.settings.batch_size):
            batch = usable[start : start + self.settings.batch_size]
            rows = [row for i in batch if (row := encoded[i]) is not None]
            scored = self._score_batch(rows, [examples[i] for i in batch])
            for i, row, signals in zip(batch, rows, scored, strict=True):
                found[i] = None if signals is None else (row.key, row.target_crc, signals)
        return found

    def _encode(self, example: Example) -> Encoded | None:
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        try:
            row = encode_example(
                self.tokenizer,
                example.chat,
                example.tools,
                max_length=context or LARGEST_CONTEXT,
                row_id=example.row_id,
                key=example.key,
            )
        except (TemplateError, NoTargetTokens):
            return None
        return None if row.truncated else row

    @torch.inference_mode()
    def _score_batch(
        self, rows: Sequence[Encoded], examples: Sequence[Example]
    ) -> Iterator[dict[str, Signal] | None]:
        batch = collate(rows, pad_id=self.tokenizer.pad_token_id, device=self.model.device)
        none: dict[int, torch.Tensor] = {}
        with self._tap.at(batch.positions_N) if self._tap else nullcontext(none) as layers:
            states = self.forward(batch.ids_BT, batch.positions_N)
        start = 0
        for row, example in zip(rows, examples, strict=True):
            part = slice(start, start + row.targets)
            start = part.stop
            own = States(states.hidden_NX[part], states.head)
            yield self._signals(row, example, own, {k: v[part] for k, v in layers.items()})

    def _signals(
        self,
        row: Encoded,
        example: Example,
        states: States,
        layers: dict[int, torch.Tensor],
    ) -> dict[str, Signal] | None:
        ids = row.ids[-row.targets :]
        signals: dict[str, Signal] = {}
        if "hidden" in self.names:
            kept_nLH = torch.stack([layers[layer] for layer in self.layers], 1)
            signals["hidden"] = Hidden(kept_nLH.float().cpu().numpy())
        lengths: list[int] | None = None
        if "realised" in self.names:
            lengths = byte_lengths(self.tokenizer, ids, str(example.chat[-1]["content"]))
        found = _Reduction(self, row, torch.tensor(ids, device=self.model.device))
        for part in chunks(len(ids), self.vocabulary, self.model.device):
            found.add(part, self._logits(states, part))
        signals |= found.signals(lengths)
        return signals

    def _logits(self, states: States, part: slice) -> torch.Tensor:
        """Of the ids that mean something, float32 [C, V]."""
        own = States(states.hidden_NX[part], states.head)
        return own.logits()[:, : self.vocabulary].float()


class _Reduction:
    """The logits of a row, chunk by chunk, down to what is kept of them."""

    def __init__(self, scorer: LocalScorer, row: Encoded, ids_n: torch.Tensor) -> None:
        self.scorer = scorer
        self.ids_n = ids_n
        self.kept: dict[str, list[Any]] = {name: [] for name in scorer.names if name != "hidden"}
        # Its own generator: what is drawn for a row depends on the row alone.
        self.generator = torch.Generator(ids_n.device)
        self.generator.manual_seed(int.from_bytes(row.key[:7], "little"))

    def add(self, part: slice, logits_CV: torch.Tensor) -> None:
        settings = self.scorer.settings
        if "realised" in self.kept:
            logp_CV = logits_CV.log_softmax(1)
            self.kept["realised"].append(logp_CV.gather(1, self.ids_n[part, None])[:, 0])
        logp_CV = (logits_CV / self.scorer.temperature).log_softmax(1)
        if "sampled" in self.kept:
            drawn = drawing.draw(logp_CV, settings.draws, self.generator)
            self.kept["sampled"].append(drawn)
        if "topk" in self.kept:
            self.kept["topk"].append(drawing.best(logp_CV, settings.k, settings.top_p))
        if "dense" in self.kept:
            self.kept["dense"].append(logp_CV)

    def signals(self, lengths: list[int] | None) -> dict[str, Signal]:
        found: dict[str, Signal] = {}
        for name, parts in self.kept.items():
            if name == "topk":
                found[name] = drawing.topk(parts)
                continue
            whole = torch.cat(parts)
            if name == "sampled":
                found[name] = drawing.sampled(whole)
            elif name == "dense":
                found[name] = drawing.dense(whole)
            elif lengths is not None:
                found[name] = drawing.realised(whole, lengths)
        return found
