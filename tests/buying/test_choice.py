import numpy as np

from mwalimu.buying.choice import POWER, apart, at_random, by_doubt, drawn
from mwalimu.data.record import Message, Record
from mwalimu.preparation.near_duplicates import signatures


def asks(*texts: str) -> list[Record]:
    return [Record(str(i), "qa", (Message("user", text),)) for i, text in enumerate(texts)]


def test_rows_are_drawn_in_proportion_to_a_power_of_their_doubts() -> None:
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    first = [drawn(shares ** (1 / POWER), seed=seed)[0] for seed in range(4000)]
    found = np.bincount(first, minlength=4) / 4000
    # Four standard deviations of a share of 0.4.
    np.testing.assert_allclose(found, shares, atol=4 * (0.4 * 0.6 / 4000) ** 0.5)


def test_no_row_is_drawn_twice_and_sure_ones_come_last() -> None:
    order = drawn(np.array([0.0] * 50 + [1.0] * 50), seed=1)
    assert sorted(order) == list(range(100))
    assert min(order[:50]) >= 50


def test_a_batch_is_not_one_prompt_a_hundred_times() -> None:
    same = ["where is my parcel it has not come yet"] * 90
    other = [f"{word} please tell me about {word} and {word} now" for word in "abcdefghij"]
    doubts = np.array([1.0] * 90 + [0.5] * 10)
    chosen = by_doubt(asks(*same, *other), doubts, 11, seed=0)
    assert sum(number < 90 for number in chosen) == 1 and len(chosen) == 11
    # Where there is nothing else, repetitions are bought after all.
    assert len(by_doubt(asks(*same, *other), doubts, 30, seed=0)) == 30


def test_the_first_that_are_apart_come_first() -> None:
    texts = ["a b c d", "a b c d", "e f g h", "a b c d", "i j k l"]
    found = np.concatenate(list(signatures(texts)))
    assert apart(found, 2) == [0, 2]
    assert apart(found, 4) == [0, 2, 4, 1]


def test_the_choice_is_of_the_rows_and_the_seed() -> None:
    rows = asks(*(f"{word} {word}{word} {word}x" for word in map(str, range(60))))
    doubts = np.linspace(0.1, 1, 60)
    assert by_doubt(rows, doubts, 10, seed=1) == by_doubt(rows, doubts, 10, seed=1)
    assert by_doubt(rows, doubts, 10, seed=1) != by_doubt(rows, doubts, 10, seed=2)
    assert by_doubt(rows, doubts, 60, seed=1) == list(range(60))
    assert by_doubt([], np.empty(0), 5, seed=0) == []
    assert sorted(at_random(60, 60, seed=0)) == list(range(60))
