"""The journal: torn, resumed, of another search."""

from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.tuning.study import begin, cut_torn_line, open_study, unfinished
from tests.tuning.jobs import Nowhere, drawn, job, search


@pytest.mark.parametrize("torn", [b'{"op_code": 4, "wor', b'{"op_code": 4, "wor\n', b"\0\0\0\n"])
def test_a_torn_last_line_is_cut_before_the_next_is_appended(tmp_path: Path, torn: bytes) -> None:
    found = search(tmp_path, job(), Nowhere(), budget="3trials")
    found.run()
    journal = found.place.journal
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    again = search(tmp_path, job(), Nowhere(), budget="5trials")
    assert journal.read_bytes() == whole
    assert drawn(again) == drawn(found)
    again.run()
    assert len(drawn(again)) == 5


def test_nothing_is_cut_of_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    cut_torn_line(path)
    assert not path.exists()
    for text in (b"", b'{"a": 1}\n', b'{"a": 1}\n{"b": 2}\n'):
        path.write_bytes(text)
        cut_torn_line(path)
        assert path.read_bytes() == text


def test_damage_in_the_middle_is_told_and_nothing_is_lost_by_it(tmp_path: Path) -> None:
    search(tmp_path, job(), Nowhere(), budget="3trials").run()
    journal = tmp_path / "tuning" / "journal.jsonl"
    text = journal.read_bytes()
    damaged = text.replace(b"op_code", b"op_c\x00de\n", 3)
    journal.write_bytes(damaged)
    with pytest.raises(RunError, match=r"journal\.jsonl: is damaged .*; use a new --run"):
        search(tmp_path, job(), Nowhere())
    assert journal.read_bytes() == damaged


def test_another_search_is_refused(tmp_path: Path) -> None:
    path, settings = tmp_path / "journal.jsonl", job().tune
    open_study(path, settings, "one")
    open_study(path, settings, "one")
    with pytest.raises(RunError, match="the search here is of another job, space or seed"):
        open_study(path, settings, "another")


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_search_that_was_stopped_anywhere_goes_on_as_the_unbroken_one(
    tmp_path: Path, sampler: str
) -> None:
    """Cut at every line of its journal, as a kill leaves it."""
    config = job(pruner="asha", warm_up=3, sampler=sampler)
    unbroken = search(tmp_path / "whole", config, Nowhere(), budget="8trials")
    unbroken.run()
    lines = unbroken.place.journal.read_bytes().splitlines(keepends=True)
    assert {state for _, state, _ in drawn(unbroken)} == {"COMPLETE", "PRUNED"}
    for cut in range(2, len(lines), 5):
        root = tmp_path / str(cut)
        (root / "tuning").mkdir(parents=True)
        (root / "tuning" / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
        resumed = search(root, config, Nowhere(), budget="8trials")
        resumed.run()
        assert drawn(resumed) == drawn(unbroken), f"cut after line {cut}"


def test_seeds_and_samplers_draw_differently(tmp_path: Path) -> None:
    found = []
    for name, settings in {
        "one": {"seed": 1},
        "two": {"seed": 2},
        "random": {"seed": 1, "sampler": "random"},
        "gp": {"seed": 1, "sampler": "gp"},
    }.items():
        one = search(tmp_path / name, job(warm_up=2, pruner="none", **settings), Nowhere())
        one.run()
        found.append([changes for changes, _, _ in drawn(one)])
    assert all(one[0] == found[0][0] for one in found)  # the recipe as it is written
    assert found[0][1:] != found[1][1:] and found[0][3:] != found[2][3:]
    assert found[0][:2] == found[3][:2] and found[3][3:] not in (found[0][3:], found[2][3:])


def test_a_trial_under_way_keeps_its_number_and_its_parameters(tmp_path: Path) -> None:
    config = job()
    held = search(tmp_path, config, Nowhere(), budget="9trials")
    own = held.space.own()
    trials = [begin(held.study, config.tune, held.space.drawn, own) for _ in range(3)]
    changes = [held.space.drawn(trial) for trial in trials]
    again = search(tmp_path, config, Nowhere())
    found = unfinished(again.study)
    assert [trial.number for trial in found] == [0, 1, 2]
    assert [again.space.drawn(trial) for trial in found] == changes
