"""A teacher on a server reads its answers once more, for those that came without log-probabilities.

Shapes: n target tokens of a row, K entries a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mwalimu.config import Config, needed_signals
from mwalimu.data.examples import Example
from mwalimu.data.tokenize import Encoded
from mwalimu.data.vocabulary import vocabulary_fingerprint, vocabulary_size
from mwalimu.run import fingerprint
from mwalimu.signals import (
    Encoding,
    Identity,
    Realised,
    RealisedEncoding,
    Signal,
    TopK,
    TopKEncoding,
)
from mwalimu.signals.sparse import MAX_K
from mwalimu.synthesis.capture.scoring import Result, Scored, encode, spelled_lengths
from mwalimu.teachers.factory import build_teacher
from mwalimu.teachers.prompt_scores import (
    Question,
    Scores,
    ServedScores,
    probe_ids,
)
from mwalimu.teachers.tokenizer import tokenizer_of


class ServedScorer:
    """`topk` and `realised`. The server is looked at as soon as this is made."""

    def __init__(self, config: Config) -> None:
        teacher = config.teacher
        self.settings = config.signals
        self.names = needed_signals(config)
        self.tokenizer = tokenizer_of(teacher)
        self.vocabulary = config.signals.vocabulary or vocabulary_size(self.tokenizer)
        info = build_teacher(teacher).info
        self.identity = Identity(
            teacher=info.model,
            kind=info.kind,
            tokenizer=vocabulary_fingerprint(self.tokenizer, self.vocabulary),
            template=fingerprint(self.tokenizer.chat_template),
            vocabulary=self.vocabulary,
            source={"log-probabilities": f"of given tokens, at temperature 1 ({teacher.scoring})"},
        )
        k = self.settings.k if "topk" in self.names else 1
        self._scores = ServedScores(teacher, k, self.vocabulary, probe_ids(self.tokenizer))

    def encoding(self, name: str) -> Encoding:
        """With room for a token that is learned and not among the best."""
        if name == "topk":
            k = min(self.settings.k + 1, MAX_K)
            return TopKEncoding(self.vocabulary, k, self.settings.top_p)
        return RealisedEncoding()

    def score(self, examples: Sequence[Example]) -> list[Result]:
        """Left out is what the template refuses, or the server.

        Raises TeacherUnreachable when the server stays away, and other TeacherErrors.
        """
        found: list[Any] = [encode(self.tokenizer, one) for one in examples]
        usable = [i for i, row in enumerate(found) if isinstance(row, Encoded)]
        questions = [Question(found[i].ids, found[i].targets) for i in usable]
        for i, scores in zip(usable, self._scores.score(questions), strict=True):
            row = found[i]
            if isinstance(scores, str):
                found[i] = f"the server refuses it: {scores}"
            else:
                signals = self._signals(scores, row, examples[i])
                found[i] = Scored(row.key, row.target_crc, signals)
        return found

    def close(self) -> None:
        self._scores.close()

    def _signals(self, scores: Scores, row: Encoded, example: Example) -> dict[str, Signal]:
        found: dict[str, Signal] = {}
        if "topk" in self.names:
            found["topk"] = self._topk(scores)
        if "realised" in self.names:
            lengths = spelled_lengths(self.tokenizer, row, example)
            if lengths is not None:
                labels_n = scores.labels_n.astype(np.float32)
                found["realised"] = Realised(labels_n, np.array(lengths, np.uint16))
        return found

    def _topk(self, scores: Scores) -> TopK:
        """The best of each token until they hold `top_p`; the rest joins the tail."""
        p_nK = np.exp(scores.logp_nK)
        kept_nK = (p_nK.cumsum(1) - p_nK < self.settings.top_p) & (p_nK > 0)
        kept_nK[:, MAX_K:] = False
        with np.errstate(divide="ignore"):
            tail_n = np.log(np.exp(scores.tail_n) + np.where(kept_nK, 0.0, p_nK).sum(1))
        return TopK(
            scores.ids_nK[kept_nK].astype(np.int32),
            scores.logp_nK[kept_nK].astype(np.float32),
            kept_nK.sum(1).astype(np.uint8),
            tail_n.astype(np.float32),
        )
