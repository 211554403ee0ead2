from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mwalimu.errors import DataError
from mwalimu.preparation.selection import at_random, coverage, highest, read_scores
from mwalimu.preparation.vectors import embed, unit
from tests.preparation.test_diversity import on_subjects


def covered(vectors: NDArray[np.float32], chosen: list[int]) -> float:
    """The facility location, by its definition."""
    return float(np.maximum(vectors @ vectors[chosen].T, 0).max(axis=1).sum())


def test_coverage_is_near_the_best_of_all_choices() -> None:
    random = np.random.default_rng(0)
    for seed in range(20):
        vectors = unit(random.normal(size=(14, 4)))
        best = max(covered(vectors, list(chosen)) for chosen in combinations(range(14), 3))
        ours = coverage(vectors, 3, seed=seed)
        assert len(set(ours)) == 3 and ours == sorted(ours)
        assert covered(vectors, ours) >= 0.9 * best


def test_coverage_takes_of_every_subject_where_chance_may_not() -> None:
    texts, names = on_subjects({"cooking": 470, "travel": 20, "money": 10})
    vectors = embed(texts, seed=0).vectors
    chosen = coverage(vectors, 12, seed=0)
    assert {names[at] for at in chosen} == {"cooking", "travel", "money"}
    lucky = [covered(vectors, at_random(500, 12, seed=seed)) for seed in range(20)]
    assert covered(vectors, chosen) > max(lucky)


def test_coverage_is_the_same_again_and_takes_all_where_there_are_no_more() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(50, 8)))
    assert coverage(vectors, 10, seed=3) == coverage(vectors, 10, seed=3)
    assert coverage(vectors, 50, seed=0) == coverage(vectors, 99, seed=0) == list(range(50))
    assert len(coverage(vectors, 49, seed=0)) == 49


def test_the_highest_scores_and_a_draw() -> None:
    assert highest(np.array([1.0, 3.0, 2.0, 3.0]), 2).tolist() == [1, 3]
    assert highest(np.array([2.0, 2.0, 2.0]), 2).tolist() == [0, 1]
    drawn = at_random(100, 10, seed=1).tolist()
    assert len(set(drawn)) == 10 and drawn == at_random(100, 10, seed=1).tolist() == sorted(drawn)
    assert at_random(3, 10, seed=0).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"id": "a", "score": 1}\n{"id": "b"}', "scores.jsonl:2: is no score"),
        ('{"id": "a", "score": "1"}', "scores.jsonl:1: is no score"),
        ('{"id": "a", "score": true}', "scores.jsonl:1: is no score"),
        ("not JSON", "scores.jsonl:1: is no score"),
        ('{"id": "a", "score": 1}', "1 rows have no score, b first"),
    ],
)
def test_scores_are_checked(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        read_scores(path, ["a", "b"])


def test_scores_are_those_of_the_rows_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text('{"id": "a", "score": 1}\n{"id": 2, "score": 0.5}\n{"id": "z", "score": 9}')
    assert read_scores(path, ["2", "a"]).tolist() == [0.5, 1.0]
