"""How near predictions are to their references: one file a family, pure functions of texts."""

from mwalimu.data.grading import exact_match, numeric_match, token_f1
from mwalimu.evaluation.metrics.labels import macro_f1
from mwalimu.evaluation.metrics.overlap import chrf, corpus_bleu, rouge, rouge_l

__all__ = [
    "chrf",
    "corpus_bleu",
    "exact_match",
    "macro_f1",
    "numeric_match",
    "rouge",
    "rouge_l",
    "token_f1",
]
