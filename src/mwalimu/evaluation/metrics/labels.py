"""Labels: what the share of right answers hides where classes are of unequal size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import normal_label


def macro_f1(
    predictions: Sequence[str],
    references: Sequence[str],
    normalise: Callable[[str], str] = normal_label,
) -> float:
    """Mean over the classes of the references of F1 = 2 TP / (2 TP + FP + FN), in 0..1.

    A prediction that is no class of the references is a miss of its row's class and no class of
    its own (van Rijsbergen 1979 for F; the mean of F1s, not the F1 of means: Opitz and Burst 2019).
    """
    gold = [normalise(reference) for reference in references]
    said = [normalise(final_answer(prediction)) for prediction in predictions]
    right = Counter(g for g, s in zip(gold, said, strict=True) if g == s)
    of_gold, of_said = Counter(gold), Counter(said)
    scores = [2 * right[label] / (of_gold[label] + of_said[label]) for label in of_gold]
    return sum(scores) / max(len(scores), 1)
