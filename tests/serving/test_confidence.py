import math

import pytest

from mwalimu.serving.completion import Completion
from mwalimu.serving.confidence import confidence


def test_it_is_the_probability_of_the_whole_answer() -> None:
    answer = Completion([1, 2, 3], "ab", "stop", [math.log(0.5), math.log(0.9), math.log(0.8)])
    assert confidence(answer) == pytest.approx(0.36)


def test_an_answer_that_was_cut_is_of_none() -> None:
    assert confidence(Completion([1], "a", "length", [0.0])) == 0.0


def test_rounding_makes_nothing_surer_than_sure() -> None:
    assert confidence(Completion([1], "a", "stop", [1e-9])) == 1.0
