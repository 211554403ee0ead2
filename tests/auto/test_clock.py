"""Time that several lives took."""

from __future__ import annotations

from pathlib import Path

from mwalimu.auto.clock import Clock


def test_lives_add_up_and_time_between_them_does_not_count(tmp_path: Path) -> None:
    now = [100.0]
    first = Clock(tmp_path / "clock.json", lambda: now[0])
    now[0] += 5
    assert first.seconds == 5
    first.keep()
    now[0] += 1000
    second = Clock(tmp_path / "clock.json", lambda: now[0])
    assert second.seconds == 5
    now[0] += 7
    assert second.seconds == 12


def test_it_is_kept_while_progress_is_told(tmp_path: Path) -> None:
    now, heard = [0.0], []
    clock = Clock(tmp_path / "clock.json", lambda: now[0])
    tell = clock.told(lambda *told: heard.append(told))
    tell("a", 1, 2, "")
    assert not (tmp_path / "clock.json").exists()
    now[0] = 3.0
    tell("a", 2, 2, "x")
    assert heard == [("a", 1, 2, ""), ("a", 2, 2, "x")]
    assert Clock(tmp_path / "clock.json").seconds >= 3.0
