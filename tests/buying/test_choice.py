import numpy as np

from mwalimu.buying.choice import at_random, by_doubt, drawn, farthest
from mwalimu.data.record import Message, Record
from mwalimu.preparation.near_duplicates import signatures


def asks(*texts: str) -> list[Record]:
    return [Record(str(i), "qa", (Message("user", text),)) for i, text in enumerate(texts)]


def test_rows_are_drawn_in_proportion_to_their_doubts() -> None:
    doubts = np.array([0.1, 0.2, 0.3, 0.4])
    first = [drawn(doubts, 1, seed=seed)[0] for seed in range(4000)]
    shares = np.bincount(first, minlength=4) / 4000
    # Four standard deviations of a share of 0.4.
    np.testing.assert_allclose(shares, doubts, atol=4 * (0.4 * 0.6 / 4000) ** 0.5)


def test_no_row_is_drawn_twice_and_sure_ones_come_last() -> None:
    doubts = np.array([0.0] * 50 + [1.0] * 50)
    order = drawn(doubts, 100, seed=1)
    assert sorted(order) == list(range(100))
    assert min(order[:50]) >= 50


def test_a_batch_is_not_one_prompt_a_hundred_times() -> None:
    same = ["where is my parcel it has not come yet"] * 90
    other = [f"{word} please tell me about {word} and {word} now" for word in "abcdefghij"]
    rows = asks(*same, *other)
    chosen = by_doubt(rows, np.ones(100), 11, seed=0)
    assert sum(number < 90 for number in chosen) == 1 or len(chosen) == 11
    spread = farthest(np.concatenate(list(signatures(same + other))), 11)
    assert sorted(spread) == [0, *range(90, 100)]


def test_the_choice_is_of_the_rows_and_the_seed() -> None:
    rows, doubts = asks(*map(str, range(60))), np.linspace(0.1, 1, 60)
    assert by_doubt(rows, doubts, 10, seed=1) == by_doubt(rows, doubts, 10, seed=1)
    assert by_doubt(rows, doubts, 10, seed=1) != by_doubt(rows, doubts, 10, seed=2)
    assert by_doubt(rows, doubts, 60, seed=1) == list(range(60))
    assert sorted(at_random(60, 60, seed=0)) == list(range(60))
