"""A teacher in vLLM reads its answers once more: `prompt_logprobs` over prompt and answer.

vLLM gives the best tokens of each place and the one that stands there: `topk` or `realised`. It is
made to give `raw_logprobs`, the model's own at temperature 1: what other modes give depends on the
sampling of a request, which a signal must not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mwalimu.config import Config, needed_signals
from mwalimu.data.examples import Example
from mwalimu.data.tokenize import Encoded
from mwalimu.data.vocabulary import vocabulary_fingerprint, vocabulary_size
from mwalimu.errors import TeacherError
from mwalimu.run import fingerprint, model_hashes
from mwalimu.signals import (
    Encoding,
    Identity,
    Realised,
    RealisedEncoding,
    Signal,
    TopKEncoding,
)
from mwalimu.synthesis.capture.best_tokens import BestTokens
from mwalimu.synthesis.capture.scoring import Result, Scored, encode, spelled_lengths, targets_of
from mwalimu.teachers.vllm import load_llm

RAW = "raw_logprobs"


class VllmScorer:
    """One `vllm.LLM`, which takes most of the card's memory until `close`."""

    def __init__(self, config: Config) -> None:
        self.settings = config.signals
        self.names = needed_signals(config)
        name = config.teacher.model
        self._alternatives = self.settings.k if "topk" in self.names else 1
        # Log-probabilities are not kept with a cached prefix: vLLM would have to compute it again.
        self._vllm, self._llm, self.tokenizer = load_llm(
            name,
            logprobs_mode=RAW,
            max_logprobs=self._alternatives,
            enable_prefix_caching=False,
        )
        self._require_raw()
        self.vocabulary = self.settings.vocabulary or vocabulary_size(self.tokenizer)
        self.identity = Identity(
            teacher=name,
            kind="vllm",
            tokenizer=vocabulary_fingerprint(self.tokenizer, self.vocabulary),
            template=fingerprint(self.tokenizer.chat_template),
            vocabulary=self.vocabulary,
            files=model_hashes(name),
            source={"logprobs_mode": RAW, "vllm": str(getattr(self._vllm, "__version__", ""))},
        )

    def encoding(self, name: str) -> Encoding:
        if name == "topk":
            return TopKEncoding(self.vocabulary, self.settings.k, self.settings.top_p)
        return RealisedEncoding()

    def score(self, examples: Sequence[Example]) -> list[Result]:
        """Left out is a conversation that the template refuses or the context does not hold."""
        # vLLM wants room for one token more, which it is asked for and nobody reads.
        context = int(self._llm.llm_engine.model_config.max_model_len) - 1
        found: list[Any] = [encode(self.tokenizer, one, context) for one in examples]
        usable = [i for i, row in enumerate(found) if isinstance(row, Encoded)]
        params = self._vllm.SamplingParams(
            temperature=0.0, max_tokens=1, prompt_logprobs=self._alternatives
        )
        outputs = self._llm.generate(
            [{"prompt_token_ids": found[i].ids} for i in usable],
            [params] * len(usable),
            use_tqdm=False,
        )
        for i, output in zip(usable, outputs, strict=True):
            row = found[i]
            places = output.prompt_logprobs[len(row) - row.targets :]
            signals = self._signals(row, examples[i], places)
            found[i] = Scored(row.key, row.target_crc, signals)
        return found

    def close(self) -> None:
        self._llm = None

    def _signals(
        self, row: Encoded, example: Example, places: Sequence[Mapping[int, Any]]
    ) -> dict[str, Signal]:
        targets = targets_of(row)
        found: dict[str, Signal] = {}
        if "topk" in self.names:
            best = BestTokens(self.vocabulary, self.settings.k, self.settings.top_p)
            for place in places:
                self._add(best, place)
            found["topk"] = best.signal()
        if "realised" in self.names:
            lengths = spelled_lengths(self.tokenizer, row, example)
            if lengths is not None:
                pairs = zip(places, targets, strict=True)
                own = np.array([place[target].logprob for place, target in pairs], np.float32)
                found["realised"] = Realised(own, np.array(lengths, np.uint16))
        return found

    def _add(self, best: BestTokens, place: Mapping[int, Any]) -> None:
        """The best tokens of one place; columns beyond the vocabulary are no tokens."""
        values = {token: float(entry.logprob) for token, entry in place.items()}
        if any(math.isnan(value) for value in values.values()):
            raise TeacherError(
                "the teacher gave log-probabilities that are not a number",
                fix="load the teacher in float32",
            )
        ranked = sorted(values.values(), reverse=True)[: self._alternatives]
        known = {token: value for token, value in values.items() if token < self.vocabulary}
        padding = [value for token, value in values.items() if token >= self.vocabulary]
        try:
            best.add(known, [v for v in ranked if math.isfinite(v)], padding)
        except ValueError as error:
            raise TeacherError(f"vLLM gave what {RAW} cannot be: {error}") from None

    def _require_raw(self) -> None:
        mode = getattr(self._llm.llm_engine.model_config, "logprobs_mode", RAW)
        if str(getattr(mode, "value", mode)) != RAW:
            raise TeacherError(
                f"this vLLM gives {mode}, which depend on a request's sampling",
                fix=f"let it give {RAW}",
            )
