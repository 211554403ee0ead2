"""Samples of streams: seeded, spread, in order, nested."""

from mwalimu.data.reservoir import Reservoir


def drawn(count: int, size: int, seed: int = 0) -> list[int]:
    reservoir = Reservoir[int](size, seed)
    for number in range(count):
        reservoir.offer(number)
    return reservoir.items()


def test_a_sample_is_seeded_spread_and_holds_the_smaller_ones() -> None:
    rows = drawn(10_000, 500)
    assert len(rows) == 500 and rows == sorted(rows) == drawn(10_000, 500) != drawn(10_000, 500, 1)
    assert all(
        30 <= sum(lo <= row < lo + 1000 for row in rows) <= 75 for lo in range(0, 10_000, 1000)
    )
    assert set(drawn(10_000, 20)) < set(rows)
    assert drawn(3, 5) == [0, 1, 2] and drawn(3, 0) == []
