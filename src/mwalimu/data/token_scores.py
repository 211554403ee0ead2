"""Log-probabilities of generated tokens, taken while a model generates, in bounded memory.

They are the model's own: the log-softmax, in float32, of the logits as they leave the model, before
temperature, top-p, penalties or anything else that generation does to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mwalimu.data.pass_recorder import PassRecorder


class TokenScore(NamedTuple):
    """A token's text, its natural log-probability, and the most probable tokens at its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class ScoreRecorder(PassRecorder):
    """Reduces each forward pass of `model` to its `k` best tokens: [B, k] a step."""

    def __init__(self, model: Any, k: int) -> None:
        super().__init__(model)
        self.k = k
        self._chosen_B: list[Any] = []
        self._top_BK: list[tuple[Any, Any]] = []

    def scores(self, answers_BT: Any, texts: TokenTexts) -> list[list[TokenScore]]:
        """Of every generated token; `answers_BT` are the ids that `generate` added."""
        steps = self.end(answers_BT)
        columns = [column.tolist() for column in self._chosen_B[:steps]]
        tops = [(values.tolist(), ids.tolist()) for values, ids in self._top_BK[:steps]]
        return [
            [
                TokenScore(texts[token], columns[t][b], texts.pairs(tops[t][1][b], tops[t][0][b]))
                for t, token in enumerate(row)
            ]
            for b, row in enumerate(answers_BT.tolist())
        ]

    def _reduce(self, logits_BV: Any, ids_B: Any) -> None:
        logp_BV = logits_BV.log_softmax(-1)
        best = logp_BV.topk(min(self.k, logp_BV.shape[-1]))
        self._top_BK.append((best.values, best.indices))
        self._chosen_B.append(logp_BV.gather(1, ids_B[:, None])[:, 0])


class TokenTexts:
    """The text that each token adds, control tokens spelled out.

    A token is decoded behind another one, since some tokenizers drop the space at the start of a
    text. A part of a character reads as U+FFFD.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._before = tokenizer.encode("a", add_special_tokens=False)[-1:]
        self._before_text = self._decode(self._before)
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        text = self._known.get(token)
        if text is None:
            whole = self._decode([*self._before, token])
            follows = whole.startswith(self._before_text)
            text = whole[len(self._before_text) :] if follows else self._decode([token])
            self._known[token] = text
        return text

    def pairs(self, ids: Sequence[int], values: Sequence[float]) -> tuple[tuple[str, float], ...]:
        return tuple((self[i], value) for i, value in zip(ids, values, strict=True))

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
