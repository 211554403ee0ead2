"""The first value of every key, exactly, across what is kept in memory and what is on the disk."""

from __future__ import annotations

import random

import pytest

from mwalimu.data import seen
from mwalimu.data.seen import FirstSeen, MaybeMet


@pytest.mark.parametrize("bits", [1, 7, 1 << 27])
def test_first_seen_agrees_with_a_dict(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "BITS", bits)
    monkeypatch.setattr(seen, "RECENT", 5)
    chance, known = random.Random(0), dict[bytes | str, int]()
    with FirstSeen() as met:
        for number in range(1, 2000):
            name = f"{chance.randrange(400)}"
            key: bytes | str = name if chance.random() < 0.5 else name.encode()
            assert met.first(key, number) == known.get(key)
            known.setdefault(key, number)


def test_long_values_are_written_before_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "RECENT_TEXT", 10)
    with FirstSeen() as met:
        for number in range(20):
            assert met.first(f"key {number}", "x" * 4) is None
            assert len(met._recent) < 3
        assert met.first("key 0", "other") == "xxxx"


def test_what_was_added_may_have_been_met() -> None:
    met = MaybeMet()
    assert b"a" not in met
    met.update([b"a", "b"])
    assert b"a" in met and "b" in met
