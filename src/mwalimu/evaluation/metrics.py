"""How near predictions are to their references, as libraries measure it; row by row: `grading`."""

from __future__ import annotations

from collections.abc import Sequence

from mwalimu.data.grading import token_f1 as token_f1


def corpus_bleu(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """BLEU of the corpus in 0..100 (Papineni et al. 2002; Post 2018); None without sacrebleu."""
    try:
        import sacrebleu
    except ImportError:
        return None
    return float(sacrebleu.corpus_bleu(list(predictions), [list(references)]).score)


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """Mean ROUGE-L F-measure over rows in 0..1 (Lin 2004); None without rouge-score."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        return None
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    pairs = zip(references, predictions, strict=True)
    total = sum(scorer.score(gold, text)["rougeL"].fmeasure for gold, text in pairs)
    return float(total / max(len(predictions), 1))
