import sys

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from mwalimu.evaluation import metrics

TEXTS = ["the cat sat on the mat", "", "A dog, barking!", "one two three four five six"]
GOLD = ["the cat lay on the mat", "nothing", "a dog barked", "one two three four five six"]


def test_bleu_is_the_librarys() -> None:
    expected = sacrebleu.BLEU().corpus_score(TEXTS, [GOLD]).score
    assert metrics.corpus_bleu(TEXTS, GOLD) == pytest.approx(expected)
    assert 0 < expected < 100
    assert metrics.corpus_bleu([""], ["x"]) == 0


def test_rouge_l_is_the_librarys_and_the_longest_common_subsequence() -> None:
    scorer = RougeScorer(["rougeL"])
    expected = [scorer.score(g, t)["rougeL"].fmeasure for t, g in zip(TEXTS, GOLD, strict=True)]
    assert metrics.rouge_l(TEXTS, GOLD) == pytest.approx(sum(expected) / 4)
    # 5 words in common and in order, of 6 each; then none; then "a dog" of 3 each; then all.
    assert metrics.rouge_l(TEXTS, GOLD) == pytest.approx((5 / 6 + 0 + 2 / 3 + 1) / 4)


def test_without_the_libraries_there_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sacrebleu", "rouge_score", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    assert metrics.corpus_bleu(TEXTS, GOLD) is None
    assert metrics.rouge_l(TEXTS, GOLD) is None
