"""The job on what was bought is an ordinary one with the stages of the run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.auto.settled import settled
from mwalimu.buying.rounds import buy
from mwalimu.pipeline import Pipeline
from mwalimu.run import Run
from tests.buying.test_rounds import job
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"prepare": {"near_duplicates": 0.9}, "data": {"contamination": "drop"}},
        {"data": {"contamination": "allow", "max_rows": 40}},
    ],
    ids=["plain", "prepared", "allowed"],
)
def test_its_stages_are_done_and_nobody_is_asked(
    tmp_path: Path, sections: dict[str, dict[str, object]]
) -> None:
    student = make_tiny_model(tmp_path / "model", spread=0.2)
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url, active={"rounds": 1}, **sections)
        buy(Pipeline(config, tmp_path / "run", store=tmp_path / "store"))
        asked = dict(server.asked)
        before = Run(tmp_path / "run").manifest["stages"]
        found = settled(config, Run(tmp_path / "run"))
        assert found.active is None and found.prompts is None
        again = Pipeline(found, tmp_path / "run", store=tmp_path / "store")
        again.generate()
        again.curate()
        again.finetune()
        assert dict(server.asked) == asked
    assert Run(tmp_path / "run").manifest["stages"] == before, "no stage was made again"
