"""Against scipy on generated cases, and simulations: 95 % intervals hold the truth as often."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mwalimu.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    holm,
    mcnemar_exact,
    mean_interval,
    permutation_test,
    spread,
    wilson,
)

FEW = settings(max_examples=40, deadline=None)
SHARES = st.floats(0, 1, allow_nan=False)


@FEW
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case: tuple[int, int]) -> None:
    right, rows = case
    expected = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
    found = wilson(right, rows)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.low <= found.mean == right / rows <= found.high


@FEW
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_scipys_binomial_test(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    ours, theirs = [1.0] * wins + [0.0] * losses, [0.0] * wins + [1.0] * losses
    assert mcnemar_exact(ours, theirs) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=9))
def test_the_permutation_test_is_scipys_exact_one(pairs: list[tuple[float, float]]) -> None:
    # A grid: sums that ought to be equal are, for both.
    ours, theirs = np.round(np.array(pairs).T * 8) / 8
    expected = stats.permutation_test(
        (ours, theirs),
        lambda a, b, axis: (a - b).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue
    assert permutation_test(ours, theirs, seed=0) == pytest.approx(min(expected, 1), abs=0.02)


@settings(max_examples=10, deadline=None)
@given(st.lists(SHARES, min_size=5, max_size=60), st.integers(0, 100))
def test_the_bootstrap_is_scipys(scores: list[float], seed: int) -> None:
    found = bootstrap_mean(scores, draws=4000, seed=seed)
    if np.ptp(scores) < 1e-6:
        assert found.low == pytest.approx(found.high)
        return
    n = len(scores)
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))  # Hesterberg 2015
    expected = stats.bootstrap(
        (np.array(scores),),
        np.mean,
        n_resamples=4000,
        method="percentile",
        confidence_level=1 - 2 * tail,
        rng=seed,
    ).confidence_interval
    slack = 0.12 * (expected.high - expected.low) + 1e-9
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=slack)


@FEW
@given(st.lists(SHARES, min_size=1, max_size=8))
def test_holm_rejects_as_its_steps_do(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    rejected: set[int] = set()
    for k, i in enumerate(order):
        if p_values[i] * (len(order) - k) > 0.05:
            break
        rejected.add(int(i))
    assert {i for i, p in enumerate(adjusted) if p <= 0.05} == rejected
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))


def test_holm_by_hand() -> None:
    # 3 * 0.01; 2 * 0.02 = 0.04; the largest so far stays for 1 * 0.03.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


@pytest.mark.parametrize("runs", [*range(2, 22), 60])
def test_the_spread_is_scipys_t_interval(runs: int) -> None:
    means = np.random.default_rng(runs).random(runs)
    found = spread(list(means))
    low, high = stats.t.interval(0.95, runs - 1, means.mean(), stats.sem(means))
    assert (found.runs, found.mean, found.sd) == pytest.approx(
        (runs, means.mean(), means.std(ddof=1))
    )
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_one_training_has_no_spread() -> None:
    assert spread([0.5]) == (1, 0.5, None, None, None)
    with pytest.raises(ValueError, match="no training"):
        spread([])


@pytest.mark.parametrize("rows", [50, 100, 500])
def test_accuracies_are_covered(rows: int) -> None:
    """Exactly, by adding up the chances of every count; single shares swing, counts being whole."""
    intervals = [wilson(right, rows) for right in range(rows + 1)]
    low, high = (np.array([one[i] for one in intervals]) for i in (1, 2))
    found = []
    for share in np.linspace(0.1, 0.9, 81):
        holds = (low <= share) & (share <= high)
        found.append(stats.binom.pmf(np.arange(rows + 1), rows, share)[holds].sum())
    assert 0.93 <= np.mean(found) <= 0.97 and min(found) > 0.91


def covered(interval: Callable[[np.random.Generator, int], Interval], truth: float) -> float:
    """Share of 800 simulated test sets whose interval holds the truth."""
    generator = np.random.default_rng(1)
    found = [interval(generator, seed) for seed in range(800)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize(
    ("rows", "a", "b"), [(50, 2, 2), (50, 5, 1), (50, 0.5, 0.5), (200, 5, 1), (500, 2, 2)]
)
def test_means_of_shares_are_covered(rows: int, a: float, b: float) -> None:
    def interval(generator: np.random.Generator, seed: int) -> Interval:
        return mean_interval(generator.beta(a, b, rows), draws=400, seed=seed)

    assert 0.93 <= covered(interval, a / (a + b)) <= 0.97


def pair(generator: np.random.Generator) -> tuple[list[float], list[float]]:
    """Two arms that agree on most of 100 rows, right on 80 and 90 % of them."""
    ours = generator.random(100)
    theirs = np.where(generator.random(100) < 0.7, ours, generator.random(100))
    return list((ours < 0.8).astype(float)), list((theirs < 0.9).astype(float))


def test_paired_differences_are_covered() -> None:
    def difference(generator: np.random.Generator, seed: int) -> Interval:
        return bootstrap_difference(*pair(generator), draws=400, seed=seed)

    assert 0.93 <= covered(difference, -0.1) <= 0.97


def test_the_bootstrap_of_a_high_share_on_few_rows_is_too_narrow() -> None:
    """Why accuracies have Wilson's interval: of 50 rows at 95 % some draws are all right."""

    def bootstrap(generator: np.random.Generator, seed: int) -> Interval:
        return bootstrap_mean((generator.random(50) < 0.95).astype(float), draws=400, seed=seed)

    def ours(generator: np.random.Generator, seed: int) -> Interval:
        return mean_interval((generator.random(50) < 0.95).astype(float), draws=400, seed=seed)

    assert covered(bootstrap, 0.95) < 0.93 < covered(ours, 0.95)
