import math
from typing import Any

import numpy as np
import pytest

from mwalimu.synthesis.capture.best_tokens import BestTokens
from mwalimu.teachers.unreported import ROUNDING


def logs(*probabilities: float) -> dict[int, float]:
    return {i: math.log(p) for i, p in enumerate(probabilities)}


def one(
    known: dict[int, float], best: list[float], unknown: tuple[float, ...] = (), **how: Any
) -> tuple[list[int], list[float], float]:
    """ids, probabilities and tail of a single token."""
    tokens = BestTokens(**{"vocabulary": 100, "k": 8, "top_p": 1.0} | how)
    tokens.add(known, best, unknown)
    found = tokens.signal()
    return found.ids.tolist(), np.exp(found.logprobs).tolist(), math.exp(found.tail[0])


def test_the_tail_is_what_is_missing() -> None:
    known = logs(0.5, 0.3)
    ids, kept, tail = one(known, list(known.values()))
    assert ids == [0, 1] and kept == pytest.approx([0.5, 0.3]) and tail == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("how", "ids", "tail"), [({"k": 1}, [0], 0.5), ({"top_p": 0.7}, [0, 1], 0.2)]
)
def test_what_is_cut_off_goes_to_the_tail(how: dict[str, Any], ids: list[int], tail: float) -> None:
    known = logs(0.5, 0.3, 0.1)
    found = one(known, list(known.values()), **how)
    assert found[0] == ids and found[2] == pytest.approx(tail)


def test_a_token_that_is_not_known_goes_to_the_tail() -> None:
    known, unknown = logs(0.5), (math.log(0.25),)
    ids, _, tail = one(known, [*known.values(), *unknown], unknown)
    assert ids == [0] and tail == pytest.approx(0.5)


def test_a_sum_that_rounds_to_one_leaves_a_tail_that_can_be() -> None:
    sure = {0: -1e-9, 1: -9.0}
    ids, _, tail = one({**sure, 0: -math.exp(-9.0)}, [-1e-9, -9.0])
    assert ids == [0, 1] and tail == pytest.approx(ROUNDING, rel=1e-3)
    # Nothing outside is likelier than the last in the list.
    _, _, tail = one({0: 0.0, 1: -30.0}, [0.0, -30.0])
    assert tail == pytest.approx(98 * math.exp(-30.0), rel=1e-3)


def test_a_vocabulary_that_is_reported_whole_has_no_tail() -> None:
    known = logs(0.75, 0.25)
    assert one(known, list(known.values()), vocabulary=2)[2] == 0


def test_what_is_impossible_is_no_entry() -> None:
    known = {0: math.log(0.9), 7: -9999.0}
    ids, _, tail = one(known, [math.log(0.9)])
    assert ids == [0] and tail == pytest.approx(0.1)


@pytest.mark.parametrize(
    "known", [logs(0.8, 0.4), {0: math.log(0.5), 1: -20.0}], ids=["over one", "under one"]
)
def test_numbers_of_no_distribution_are_refused(known: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="no distribution"):
        one(known, list(known.values()))


def test_a_certain_token_has_no_tail() -> None:
    tokens = BestTokens(10, 4, 1.0)
    tokens.add_certain(3)
    found = tokens.signal()
    assert found.ids.tolist() == [3] and found.logprobs[0] == 0 and found.tail[0] == -np.inf
