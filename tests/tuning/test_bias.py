"""Selection bias, against simulations in which the truth is known."""

import random
from statistics import mean

import numpy as np
import pytest

from mwalimu.tuning.bias import without_selection


def plain(scores: list[list[float]], draws: int, seed: int) -> float:
    """The same estimate by loops over lists, with generators and draws of its own."""
    rng, rows, found = random.Random(seed), range(len(scores[0])), []
    while len(found) < draws:
        drawn = [rng.choice(rows) for _ in rows]
        left = sorted(set(rows) - set(drawn))
        if not left:
            continue
        inside = [sum(recipe[row] for row in drawn) for recipe in scores]
        chosen = scores[inside.index(max(inside))]
        found.append(mean(chosen[row] for row in left))
    return mean(found)


def coins(rng: np.random.Generator, chances: list[float], rows: int) -> list[list[float]]:
    return [list(rng.binomial(1, chance, rows).astype(float)) for chance in chances]


def test_it_is_what_loops_say() -> None:
    scores = coins(np.random.default_rng(3), [0.5, 0.6, 0.55, 0.4], 40)
    found = without_selection(scores, seed=1, draws=4000)
    assert found is not None
    assert found.mean == pytest.approx(plain(scores, 4000, seed=5), abs=0.006)
    assert found.low < found.mean < found.high


def test_the_best_of_many_equal_recipes_is_no_better_than_they_are() -> None:
    """Twenty fair coins on 60 rows: the best looks like 0.61, and is 0.5."""
    rng = np.random.default_rng(7)
    apparent, corrected = [], []
    for repetition in range(40):
        scores = coins(rng, [0.5] * 20, 60)
        apparent.append(max(mean(recipe) for recipe in scores))
        found = without_selection(scores, seed=repetition, draws=200)
        assert found is not None
        corrected.append(found.mean)
    assert mean(apparent) > 0.58
    assert mean(corrected) == pytest.approx(0.5, abs=0.02)


def test_where_one_is_far_better_there_is_no_luck_to_take_off() -> None:
    rng = np.random.default_rng(9)
    differences = []
    for repetition in range(20):
        scores = coins(rng, [0.3, 0.9, 0.35], 80)
        found = without_selection(scores, seed=repetition, draws=200)
        assert found is not None
        differences.append(found.mean - mean(scores[1]))
    assert mean(differences) == pytest.approx(0.0, abs=0.01)


def test_a_seed_fixes_it_and_one_row_tells_nothing() -> None:
    scores = coins(np.random.default_rng(1), [0.5, 0.7], 30)
    assert without_selection(scores, seed=4) == without_selection(scores, seed=4)
    assert without_selection([[1.0], [0.0]], seed=0) is None
    with pytest.raises(ValueError, match=r"zip|longer|shorter"):
        without_selection([[1.0, 0.0], [1.0]], seed=0)
    with pytest.raises(ValueError, match="no scores"):
        without_selection([], seed=0)
