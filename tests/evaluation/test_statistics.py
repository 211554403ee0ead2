from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from mwalimu.evaluation import statistics
from mwalimu.evaluation.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    is_binary,
    mcnemar_exact,
    permutation_test,
)

SCORES = [1.0, 0.0, 1.0, 1.0, 0.5, 0.0, 1.0, 0.25]
# Hesterberg's expanded tails of 8 rows.
TAIL = stats.norm.cdf(-np.sqrt(8 / 7) * stats.t.ppf(0.975, 7))
OTHERS = [0.0, 0.0, 1.0, 0.5, 0.5, 0.25, 1.0, 0.0]


def discordant(wins: int, losses: int, ties: int = 5) -> tuple[list[float], list[float]]:
    return (
        [1.0] * wins + [0.0] * losses + [1.0] * ties,
        [0.0] * wins + [1.0] * losses + [1.0] * ties,
    )


def enumerated(differences: list[float]) -> float:
    """The share of all sign patterns whose sum is at least as far from 0."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed - 1e-12 for total in sums) / len(sums)


def test_mcnemar_by_hand() -> None:
    # 2 * (C(10,0) + C(10,1)) / 2^10, and 2 * (1 + 8 + 28) / 2^8
    assert mcnemar_exact(*discordant(9, 1)) == pytest.approx(22 / 1024)
    assert mcnemar_exact(*discordant(2, 6)) == pytest.approx(74 / 256)
    assert mcnemar_exact(*discordant(6, 2)) == mcnemar_exact(*discordant(2, 6))
    assert mcnemar_exact(*discordant(0, 0)) == 1
    assert mcnemar_exact(*discordant(3, 3)) == 1


@pytest.mark.parametrize(("wins", "losses"), [(1, 0), (5, 1), (4, 4), (0, 10), (7, 3)])
def test_mcnemar_is_the_sign_test_over_all_patterns(wins: int, losses: int) -> None:
    expected = enumerated([1.0] * wins + [-1.0] * losses)
    assert mcnemar_exact(*discordant(wins, losses)) == pytest.approx(expected)


def test_mcnemar_of_many_rows_is_near_the_normal() -> None:
    p = mcnemar_exact(*discordant(5200, 4800))
    assert p == pytest.approx(2 * NormalDist().cdf(-(400 - 1) / 100), rel=0.02)


def test_permutation_is_near_the_exact_test() -> None:
    expected = enumerated([a - b for a, b in zip(SCORES, OTHERS, strict=True)])
    found = permutation_test(SCORES, OTHERS, seed=0)
    assert found == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 10_000) ** 0.5)
    assert found == permutation_test(SCORES, OTHERS, seed=0)
    assert found == pytest.approx(permutation_test(OTHERS, SCORES, seed=0))


def test_permutation_is_never_zero_and_one_for_equals() -> None:
    assert permutation_test([1.0] * 50, [0.1] * 50, seed=0) == 1 / 10_001
    assert permutation_test(SCORES, SCORES, seed=0) == 1


def naive(draws: int, seed: int) -> tuple[list[float], list[float]]:
    """Means of the resampled rows, one draw at a time in plain Python."""
    indices = np.random.default_rng(seed).integers(0, len(SCORES), (draws, len(SCORES)))
    means = [
        [sum(column[i] for i in draw) / len(draw) for draw in indices.tolist()]
        for column in (SCORES, OTHERS)
    ]
    return means[0], means[1]


def test_intervals_are_percentiles_of_resampled_rows() -> None:
    own, other = naive(300, 7)
    for found, estimate, values in (
        (bootstrap_mean(SCORES, draws=300, seed=7), np.mean(SCORES), own),
        (
            bootstrap_difference(SCORES, OTHERS, draws=300, seed=7),
            np.mean(SCORES) - np.mean(OTHERS),
            np.subtract(own, other),
        ),
        (
            bootstrap_ratio(SCORES, OTHERS, draws=300, seed=7),
            np.mean(SCORES) / np.mean(OTHERS),
            [a / b for a, b in zip(own, other, strict=True) if b],
        ),
    ):
        assert found is not None
        assert tuple(found) == pytest.approx(
            (estimate, *np.quantile(values, [TAIL, 1 - TAIL])), rel=1e-4
        )


def test_pairing_makes_a_constant_difference_certain() -> None:
    found = bootstrap_difference(SCORES, [s - 0.5 for s in SCORES], draws=200, seed=0)
    assert tuple(found) == pytest.approx((0.5, 0.5, 0.5))


def test_about_95_of_100_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        scores = (generator.random(120) < 0.7).astype(float).tolist()
        _, low, high = bootstrap_mean(scores, draws=200, seed=seed)
        covered += low <= 0.7 <= high
    assert 0.89 < covered / 300 < 0.99


def test_chunks_keep_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_mean(SCORES * 40, draws=2000, seed=0)
    monkeypatch.setattr(statistics, "_CHUNK", 1000)
    assert tuple(bootstrap_mean(SCORES * 40, draws=2000, seed=0)) == pytest.approx(whole, abs=0.01)


def test_a_ratio_to_zero_is_unknown() -> None:
    assert bootstrap_ratio(SCORES, [0.0] * len(SCORES), draws=100, seed=0) is None
    rare = [1.0] + [0.0] * 7  # a third of the draws have no denominator
    found = bootstrap_ratio(SCORES, rare, draws=200, seed=0)
    assert found is not None and np.isfinite(found).all()


def test_one_row_and_no_rows() -> None:
    assert tuple(bootstrap_mean([1.0], draws=100, seed=0)) == (1, 1, 1)
    with pytest.raises(ValueError, match="no rows"):
        bootstrap_mean([], draws=100, seed=0)


def test_is_binary() -> None:
    assert is_binary([0.0, 1.0], [1.0])
    assert not is_binary([0.0, 1.0], [0.5])
