"""Successive halving, by hand."""

import pytest

from mwalimu.tuning.halving import is_behind


def at(*values: float) -> dict[int, float]:
    """Of a trial that is told something after each epoch."""
    return {100 * epoch: value for epoch, value in enumerate(values, start=1)}


def test_the_first_and_the_best_always_go_on() -> None:
    assert not is_behind(at(-9), [], 100, reduction=3)
    assert not is_behind(at(-1), [at(-2), at(-3)], 100, reduction=3)
    assert is_behind(at(-3), [at(-2)], 100, reduction=3)


@pytest.mark.parametrize(("value", "behind"), [(-1.5, False), (-2.5, True)])
def test_one_in_three_goes_on(value: float, behind: bool) -> None:
    others = [at(-1), at(-2), at(-3), at(-4), at(-5)]
    assert is_behind(at(value), others, 100, reduction=3) is behind


def test_between_rungs_nothing_is_decided() -> None:
    others = [at(-1, -1, -1, -1)]
    assert is_behind(at(-5), others, 100, reduction=3)
    assert not is_behind(at(-5, -5), others, 200, reduction=3)
    assert is_behind(at(-5, -5, -5), others, 300, reduction=3)
    assert not is_behind(at(-5, -5, -5, -5), others, 400, reduction=3)
    assert not is_behind({50: -9.0}, [{50: -1.0}], 50, reduction=3)


def test_a_rung_is_reached_at_the_first_step_after_it_and_later_ones_do_not_count() -> None:
    mine, other = {80: -9.0, 130: -3.0, 260: -1.0}, {150: -4.0, 250: -0.5}
    assert not is_behind(mine, [other], 130, reduction=3)
    assert not is_behind(mine, [{**other, 150: -2.0}], 260, reduction=3)
    assert is_behind(mine, [{**other, 150: -2.0}], 130, reduction=3)


def test_who_has_not_been_on_the_rung_does_not_compete() -> None:
    assert not is_behind(at(-5, -5, -5), [at(-1, -1), {}], 300, reduction=3)
