"""BERTScore: texts compared by an encoder's vectors of their tokens (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mwalimu.errors import ConfigError

BATCH = 16


class Encoder:
    """Last-layer vectors of the tokens of texts, of unit length, without special tokens."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError where the folder holds no encoder."""
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.model: Any = AutoModel.from_pretrained(folder).eval()
        except (OSError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise ConfigError(
                f"no encoder can be loaded from {folder} ({first})",
                where="evaluate.encoder",
                fix="name a transformers folder with its tokenizer",
            ) from None

    def vectors(self, texts: Sequence[str]) -> list[Any]:
        """One (tokens, width) tensor a text; none of it is kept of a text without tokens."""
        import torch

        found = []
        for start in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                list(texts[start : start + BATCH]),
                padding=True,
                truncation=True,
                max_length=min(self.tokenizer.model_max_length, 512),
                return_tensors="pt",
                return_special_tokens_mask=True,
            )
            special_BT = batch.pop("special_tokens_mask").bool()
            with torch.inference_mode():
                states_BTD = self.model(**batch).last_hidden_state.float()
            states_BTD = torch.nn.functional.normalize(states_BTD, dim=-1)
            keep_BT = batch["attention_mask"].bool() & ~special_BT
            found += [
                states_TD[keep_T] for states_TD, keep_T in zip(states_BTD, keep_BT, strict=True)
            ]
        return found


def greedy_f1(ours_TD: Any, gold_TD: Any) -> float:
    """F1 of greedy matching, without idf weights: Zhang et al. 2020, section 3.

    P = mean over our tokens of their best cosine with a gold token, R the other way round.
    """
    if not len(ours_TD) or not len(gold_TD):
        return float(len(ours_TD) == len(gold_TD))
    cosines_TT = ours_TD @ gold_TD.T
    precision, recall = cosines_TT.amax(1).mean(), cosines_TT.amax(0).mean()
    below = float(precision + recall)
    return float(2 * precision * recall) / below if below else 0.0


def bert_score(
    encoder: Encoder, predictions: Sequence[str], references: Sequence[str]
) -> list[float]:
    """F1 a row, not rescaled against a baseline."""
    pairs = zip(encoder.vectors(predictions), encoder.vectors(references), strict=True)
    return [greedy_f1(ours, gold) for ours, gold in pairs]
