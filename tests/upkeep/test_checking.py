from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.synthesis.store import SEGMENT
from mwalimu.upkeep.checking import check_answers, check_run
from tests.upkeep.made import run_folder, store


def test_a_whole_run_has_a_line_a_stage_and_nothing_to_mend(tmp_path: Path) -> None:
    run_folder(tmp_path)
    lines = list(check_run(tmp_path))
    assert [(line.what, line.fix) for line in lines] == [("generate", ""), ("curate", "")]
    assert "2 files" in lines[0].said


@pytest.mark.parametrize("damage", [b"on3\n", None])
def test_a_changed_and_a_missing_file_are_named(tmp_path: Path, damage: bytes | None) -> None:
    file = run_folder(tmp_path).path("generate", "train.jsonl")
    file.write_bytes(damage) if damage else file.unlink()
    generate, curate = check_run(tmp_path)
    assert "generate/train.jsonl" in generate.said and "made anew" in generate.fix
    assert not curate.fix


def test_what_a_crash_left_is_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    run_folder(tmp_path)
    (tmp_path / "generate" / ".train.jsonl.tmp").write_bytes(b"hal")
    assert list(check_run(tmp_path))[-1].fix == f"mwalimu runs repair {tmp_path}"


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        list(check_run(tmp_path))


def test_whole_answers_are_counted_once_however_often_they_were_bought(tmp_path: Path) -> None:
    store(tmp_path, 5)
    store(tmp_path, 5)
    (line,) = check_answers(tmp_path)
    assert line.said.startswith("5 answers whole") and not line.fix


def test_a_bad_sector_among_the_answers_is_told(tmp_path: Path) -> None:
    last = store(tmp_path, 5)[2].raw
    data = (tmp_path / SEGMENT).read_bytes()
    (tmp_path / SEGMENT).write_bytes(data.replace(last, b"x" * len(last)))
    said = [line.said for line in check_answers(tmp_path)]
    assert said[0].startswith("4 answers whole")
    assert "are no answer" in said[1]


def test_a_torn_end_is_no_damage_for_the_next_opening_cuts_it(tmp_path: Path) -> None:
    store(tmp_path, 5)
    with open(tmp_path / SEGMENT, "r+b") as handle:
        handle.truncate(handle.seek(0, 2) - 3)
    lines = list(check_answers(tmp_path))
    assert lines[0].said.startswith("4 answers whole") and not any(line.fix for line in lines)
