"""Smaller runs of a finished one, and what `mwalimu forecast` says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mwalimu import api
from mwalimu.buying.ladder import RUNGS, Rung, _part, points_of
from mwalimu.errors import DataError, RunError
from mwalimu.quickstart.job import write_job
from mwalimu.run import Run
from tests import command

ROWS = {"train": 64, "validation": 10, "test": 20, "labelled": 10}
SHORT = ("finetune.epochs=1", "evaluate.max_tokens=8", "evaluate.arms=[distilled]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    config = api.load_config(write_job(folder, rows=ROWS), SHORT)
    api.run(config, folder / "run", store=folder / "answers")
    return folder / "run"


def test_a_single_run_is_climbed_without_asking_and_only_once(run: Path) -> None:
    ledger = (run / "generate" / "ledger.json").read_bytes()
    told: list[str] = []
    found = api.forecast([run], more=[100], progress=lambda stage, *_: told.append(stage))
    assert [point.rows for point in found.forecast.points] == [8, 8, 16, 16, 32, 64]
    assert {len(point.scores) for point in found.forecast.points} == {20}
    assert set(found.gains()) == {100} and found.usd == 0
    lines = list(found.lines())
    assert lines[0].endswith("%") and "100 more rows buy about +" in lines[-1]
    students = sorted(path.name for path in (run / "forecast").iterdir())
    assert students == ["16-0", "16-1", "32-0", "8-0", "8-1"]
    weights = run / "forecast" / "32-0" / "student" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert api.forecast([run], more=[100]).gains() == found.gains()
    assert weights.stat().st_mtime_ns == before
    assert (run / "generate" / "ledger.json").read_bytes() == ledger
    assert Run(run).stage("report") is not None  # the run is as it was


def test_the_command_prints_it_for_people_and_programs(run: Path) -> None:
    people = command.mwalimu("forecast", str(run), "--rows", "50", "--rows", "70", cwd=run)
    assert people.returncode == 0, people.stderr
    assert "50 more rows buy" in people.stdout and "70 more rows buy" in people.stdout
    programs = command.mwalimu("forecast", str(run), "--json", cwd=run)
    found = json.loads(programs.stdout)
    assert [one["rows"] for one in found["more"]] == [32, 64] and not found["too_few"]


def test_parts_of_a_size_share_no_row_and_are_no_heads() -> None:
    rows = [{"id": str(number)} for number in range(64)]
    first, second = (list(_part(rows, Rung(part, 4))) for part in (0, 1))
    ids = [{row["id"] for row in part} for part in (first, second)]
    assert len(first) == len(second) == 16 and not ids[0] & ids[1]
    assert first != rows[:16] and first == sorted(first, key=lambda row: int(row["id"]))
    assert len({(rung.part, rung.of) for rung in RUNGS}) == len(RUNGS)


def test_runs_that_tell_nothing_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="stage evaluate is not finished"):
        points_of(Run(tmp_path))
    with pytest.raises(DataError, match="3 different numbers of rows, here are 1"):
        list(api.forecast([run, run]).lines())
    with pytest.raises(RunError, match="three students of different sizes"):
        api.forecast([run, run], parameters=10**9)
