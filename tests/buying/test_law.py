"""The fit against scipy's, and against laws that are known."""

import numpy as np
import pytest
from scipy.optimize import least_squares, nnls

from mwalimu.buying.law import EXPONENTS, _nonnegative, fit

ROWS = np.array([200, 400, 800, 1600, 3200, 6400], np.float64)
LAWS = [(0.05, 3.0, 0.5), (0.0, 1.5, 0.25), (0.2, 0.0, 0.5), (0.1, 30.0, 0.9)]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_without_noise_is_found_and_goes_on_as_it_should(law: tuple[float, ...]) -> None:
    floor, scale, exponent = law
    errors = floor + scale * ROWS**-exponent
    found = fit(ROWS, errors[None], np.ones(6))
    for rows in (*ROWS, 12_800, 25_600):
        assert found.error(rows)[0] == pytest.approx(floor + scale * rows**-exponent, abs=0.003)


def test_nonnegative_parts_are_those_of_lawson_and_hanson() -> None:
    random = np.random.default_rng(0)
    for columns in (2, 3):
        for _ in range(50):
            design = random.standard_normal((6, columns))
            target = random.standard_normal((1, 6))
            weights = random.uniform(0.2, 5, 6)
            parts, squares = _nonnegative(design, target, weights)
            root = np.sqrt(weights)
            expected, norm = nnls(design * root[:, None], target[0] * root)
            # No part at all is a sum of squares too, which the search leaves out as useless.
            if expected.any():
                np.testing.assert_allclose(parts[0], expected, atol=1e-9)
                assert squares[0] == pytest.approx(norm**2, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_no_search_from_many_starts_does_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    errors = 0.1 + 2 * ROWS**-0.5 + 0.01 * random.standard_normal(6)
    weights = random.uniform(0.5, 2, 6)

    def off(parts: np.ndarray) -> np.ndarray:
        floor, scale, exponent = parts
        return np.sqrt(weights) * (floor + scale * ROWS**-exponent - errors)

    bounds = ([0, 0, EXPONENTS[0]], [1, np.inf, EXPONENTS[-1]])
    starts = [(0.05, 1, exponent) for exponent in (0.1, 0.3, 0.6, 1.0, 1.8)]
    best = min(2 * least_squares(off, start, bounds=bounds, x_scale="jac").cost for start in starts)
    found = fit(ROWS, errors[None], weights)
    ours = (np.sqrt(weights) * ([found.error(rows)[0] for rows in ROWS] - errors)) ** 2
    # Exponents lie on a grid of 6 %.
    assert ours.sum() <= best * 1.02 + 1e-9


def test_every_draw_has_its_own_law() -> None:
    errors = np.stack([floor + scale * ROWS**-exponent for floor, scale, exponent in LAWS])
    together = fit(ROWS, errors, np.ones(6))
    for number in range(len(LAWS)):
        alone = fit(ROWS, errors[number : number + 1], np.ones(6))
        np.testing.assert_allclose(together.error(10_000)[number], alone.error(10_000)[0])


def test_no_law_rises_whatever_the_points() -> None:
    found = fit(ROWS, (0.1 + ROWS / 1e5)[None], np.ones(6))
    assert found.error(200)[0] == pytest.approx(found.error(1e6)[0])


def test_the_size_of_the_student_has_its_own_power() -> None:
    rows = np.tile(ROWS, 3)
    sizes = np.repeat([1e6, 4e6, 16e6], 6)
    errors = 0.05 + 2 * rows**-0.4 + 20 * sizes**-0.35
    found = fit(rows, errors[None], np.ones(18), sizes)
    assert found.error(3200, 64e6)[0] == pytest.approx(
        0.05 + 2 * 3200**-0.4 + 20 * 64e6**-0.35, abs=0.004
    )
