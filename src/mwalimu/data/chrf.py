"""chrF of one sentence: the F-score of character n-grams (Popović 2015)."""

from __future__ import annotations

from collections import Counter

ORDER = 6
BETA = 2.0  # recall counts BETA squared times as much as precision


def sentence_chrf(prediction: str, reference: str) -> float:
    """chrF2 in 0..1, whitespace left out, n = 1..6.

    For each n precision and recall of the n-grams; their means over the orders that occur in both
    texts give F = (1 + b^2) P R / (b^2 P + R). A hundredth of sacrebleu's sentence score.
    """
    ours, gold = "".join(prediction.split()), "".join(reference.split())
    pairs = [_precision_recall(ours, gold, n) for n in range(1, ORDER + 1)]
    counted = [pair for pair in pairs if pair is not None]
    if not counted:
        return 0.0
    precision = sum(p for p, _ in counted) / len(counted)
    recall = sum(r for _, r in counted) / len(counted)
    below = BETA**2 * precision + recall
    return (1 + BETA**2) * precision * recall / below if below else 0.0


def _precision_recall(ours: str, gold: str, n: int) -> tuple[float, float] | None:
    ours_n, gold_n = _ngrams(ours, n), _ngrams(gold, n)
    if not ours_n or not gold_n:
        return None
    common = (ours_n & gold_n).total()
    return common / ours_n.total(), common / gold_n.total()


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
