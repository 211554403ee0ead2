"""Texts against references, as the field's own libraries measure it; None where one is absent."""

from __future__ import annotations

from collections.abc import Sequence

ROUGES = ("rouge1", "rouge2", "rougeL")


def corpus_bleu(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """BLEU of the corpus in 0..100 (Papineni et al. 2002; Post 2018); None without sacrebleu."""
    try:
        import sacrebleu
    except ImportError:
        return None
    return float(sacrebleu.corpus_bleu(list(predictions), [list(references)]).score)


def chrf(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """chrF2 of the corpus in 0..100 (Popović 2015); None without sacrebleu."""
    try:
        import sacrebleu
    except ImportError:
        return None
    return float(sacrebleu.corpus_chrf(list(predictions), [list(references)]).score)


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float] | None:
    """Mean F-measures over rows in 0..1 (Lin 2004), by `ROUGES`; None without rouge-score."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        return None
    scorer = RougeScorer(list(ROUGES), use_stemmer=False)
    totals = dict.fromkeys(ROUGES, 0.0)
    for gold, text in zip(references, predictions, strict=True):
        for kind, score in scorer.score(gold, text).items():
            totals[kind] += score.fmeasure
    return {kind: total / max(len(predictions), 1) for kind, total in totals.items()}


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """Mean ROUGE-L F-measure over rows in 0..1 (Lin 2004); None without rouge-score."""
    found = rouge(predictions, references)
    return None if found is None else found["rougeL"]
