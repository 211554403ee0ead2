"""What a server reported with its answer, in texts, as signals in ids.

The row is used only if the reported tokens are exactly those that the student learns. An
alternative whose text names no token, or several, goes to the tail: nothing is guessed.

A server may leave out the end of the turn. That it was chosen is known from the answer, how surely
is not: `topk` then puts all mass on it, which is what the text alone teaches, and `realised` has no
value for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mwalimu.data.token_ids import TokenIds
from mwalimu.signals import Realised, Signal, TopK
from mwalimu.synthesis.capture.best_tokens import IMPOSSIBLE, BestTokens
from mwalimu.teachers.base import TokenLogprob

OTHER_TOKENS = "the reported tokens are not those that the tokenizer makes of the answer"
NO_DISTRIBUTION = "the reported log-probabilities are of no distribution"


class Reported:
    """Reads the log-probabilities of a served teacher with `tokenizer`."""

    def __init__(self, tokenizer: Any, vocabulary: int, k: int, top_p: float) -> None:
        self.ids = TokenIds(tokenizer, vocabulary)
        self.vocabulary = vocabulary
        self.k = k
        self.top_p = top_p

    def signals(
        self,
        scores: Sequence[TokenLogprob],
        targets: Sequence[int],
        names: Sequence[str],
        byte_lengths: Sequence[int] | None,
    ) -> dict[str, Signal] | str:
        """By encoding, for those of `names` that a server reports, or why there are none."""
        if len(scores) == len(targets) and not scores[-1].token:
            scores = scores[:-1]  # an end of turn that the server does not spell
        if len(scores) not in (len(targets) - 1, len(targets)):
            return OTHER_TOKENS
        if any(self.ids[s.token] != i for s, i in zip(scores, targets, strict=False)):
            return OTHER_TOKENS
        if any(not score.logprob <= 0.01 for score in scores):
            return NO_DISTRIBUTION
        found: dict[str, Signal] = {}
        try:
            if "topk" in names:
                found["topk"] = self._topk(scores, targets)
        except ValueError:
            return NO_DISTRIBUTION
        if "realised" in names and byte_lengths is not None:
            logprobs = np.array([score.logprob for score in scores], np.float32)
            lengths = np.array(byte_lengths[: len(scores)], np.uint16)
            found["realised"] = Realised(logprobs, lengths)
        return found

    def _topk(self, scores: Sequence[TokenLogprob], targets: Sequence[int]) -> TopK:
        """Raises ValueError if the numbers of a token are of no distribution."""
        best = BestTokens(self.vocabulary, self.k, self.top_p)
        for score, target in zip(scores, targets, strict=False):
            known, unknown = {target: score.logprob}, []
            for text, value in score.top:
                token = self.ids[text]
                if token is None:
                    unknown.append(value)
                else:
                    known.setdefault(token, value)
            best.add(known, [v for _, v in score.top if v > IMPOSSIBLE], unknown)
        for target in targets[len(scores) :]:
            best.add_certain(target)
        return best.signal()
