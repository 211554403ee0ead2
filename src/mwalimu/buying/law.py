"""How error falls with rows and with the size of the student: power laws over a floor.

    error(n) = floor + scale n^-exponent                                  of n rows
    error(n, m) = floor + scale n^-exponent + of_size m^-size_exponent    and m parameters

Hestness et al. 2017 (arXiv 1712.00409), section 3; Rosenfeld et al. 2020 (arXiv 1909.12673),
equation 5 without its saturation for untrained models. Shapes: D draws of the points, K points,
G pairs of exponents, C columns of a pair: the floor's, the rows', the size's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = 3  # of a law over rows: floor, scale, exponent
EXPONENTS = np.geomspace(0.05, 2.0, 60)
"""Between a curve that hardly bends and one that is over at once; neighbours differ by 6 %."""
SIZE_EXPONENTS = np.geomspace(0.05, 1.0, 12)


class Law(NamedTuple):
    """Of each draw one law; the parts are never negative, so that no law rises."""

    floor_D: Floats
    scale_D: Floats
    exponent_D: Floats
    of_size_D: Floats
    size_exponent_D: Floats

    def error(self, rows: float, parameters: float = 1.0) -> Floats:
        """(D,) in 0..1, of a student of so many parameters; without sizes in the fit, of any."""
        of_rows_D = self.scale_D * rows**-self.exponent_D
        of_size_D = self.of_size_D * parameters**-self.size_exponent_D
        return np.asarray(np.clip(self.floor_D + of_rows_D + of_size_D, 0.0, 1.0), np.float64)


def fit(rows_K: Floats, errors_DK: Floats, weights_K: Floats, sizes_K: Floats | None = None) -> Law:
    """The laws of the least weighted squares; sizes are numbers of parameters.

    Given its exponents a law is linear in its other parts, so these are solved for and the
    exponents searched on a grid (variable projection, Golub and Pereyra 1973). That finds the least
    of all, and one that stays within its bounds, whatever the points.
    """
    least_D = np.full(len(errors_DK), np.inf)
    found_DP = np.zeros((len(errors_DK), 5))
    for exponent, size_exponent, design_KC in _designs(rows_K, sizes_K):
        parts_DC, squares_D = _nonnegative(design_KC, errors_DK, weights_K)
        better_D = squares_D < least_D
        least_D[better_D] = squares_D[better_D]
        of_size_D = parts_DC[:, 2] if sizes_K is not None else np.zeros(len(errors_DK))
        columns = (*parts_DC.T[:2], exponent, of_size_D, size_exponent)
        law_DP = np.stack(np.broadcast_arrays(*columns), axis=1)
        found_DP[better_D] = law_DP[better_D]
    return Law(*found_DP.T)


def _designs(rows_K: Floats, sizes_K: Floats | None) -> Iterator[tuple[float, float, Floats]]:
    """Pairs of exponents with the columns that they make; without sizes the second is 0."""
    floor_K = np.ones_like(rows_K)
    for exponent in EXPONENTS:
        of_rows_K = rows_K**-exponent
        if sizes_K is None:
            yield exponent, 0.0, np.stack([floor_K, of_rows_K], axis=1)
            continue
        for size_exponent in SIZE_EXPONENTS:
            columns = [floor_K, of_rows_K, sizes_K**-size_exponent]
            yield exponent, size_exponent, np.stack(columns, axis=1)


def _nonnegative(design_KC: Floats, errors_DK: Floats, weights_K: Floats) -> tuple[Floats, Floats]:
    """Non-negative weighted least squares: parts (D, C) and the sum of squares (D,).

    With three columns at most, every set of those that are not 0 is tried: the best whose parts
    are all positive is the solution (Lawson and Hanson 1974, chapter 23, without its search).
    """
    root_K = np.sqrt(weights_K)
    design_KC, target_DK = design_KC * root_K[:, None], errors_DK * root_K
    columns = range(design_KC.shape[1])
    least_D = np.full(len(errors_DK), np.inf)
    found_DC = np.zeros((len(errors_DK), len(columns)))
    for chosen in (list(c) for size in columns for c in combinations(columns, size + 1)):
        inverse_CK = np.linalg.pinv(design_KC[:, chosen])
        parts_DC = target_DK @ inverse_CK.T
        squares_D = ((parts_DC @ design_KC[:, chosen].T - target_DK) ** 2).sum(axis=1)
        better_D = (parts_DC >= 0).all(axis=1) & (squares_D < least_D)
        least_D[better_D] = squares_D[better_D]
        full_DC = np.zeros_like(found_DC)
        full_DC[:, chosen] = parts_DC
        found_DC[better_D] = full_DC[better_D]
    return found_DC, least_D
