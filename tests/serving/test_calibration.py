import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError, RunError
from mwalimu.run import Run
from mwalimu.serving.calibration import calibrated, graded, threshold

ARMS = ("teacher", "student-distilled")


def evaluated(folder: Path, rows: int = 400, arms: tuple[str, ...] = ARMS, **fields: Any) -> Run:
    """The teacher is always right; the student is where it is sure above one half."""
    run = Run(folder)
    files = []
    for arm in arms:
        path = run.path("evaluate", "predictions", f"{arm}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for number in range(rows):
            sure = (number + 0.5) / rows
            score = 1.0 if arm == "teacher" else float(sure > 0.5)
            lines.append({"id": str(number), "confidence": sure, "score": score} | fields)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        files.append(path)
    run.finish("evaluate", "f", files, {})
    return run


def test_it_hands_on_what_the_student_gets_wrong(tmp_path: Path) -> None:
    found = calibrated(evaluated(tmp_path))
    assert 0.48 < found.below < 0.51  # 1 % of wrong answers may stay
    assert found.teacher == 1.0
    assert found.student == 0.5


def test_the_option_is_a_number_or_auto(tmp_path: Path) -> None:
    run, notes = evaluated(tmp_path), list[str]()
    assert threshold("0.8", run, notes.append) == 0.8
    assert notes == []
    assert threshold("auto", run, notes.append) == calibrated(run).below
    assert "chosen on 400 test rows" in notes[0]


@pytest.mark.parametrize("below", ["80", "-0.1", "nan", "often", ""])
def test_another_option_is_refused(tmp_path: Path, below: str) -> None:
    with pytest.raises(ConfigError, match="is no confidence"):
        threshold(below, Run(tmp_path), print)


def test_an_unknown_confidence_is_none(tmp_path: Path) -> None:
    run = evaluated(tmp_path)
    path = run.path("evaluate", "predictions", "student-distilled.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["confidence"] = None
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.finish("evaluate", "f", [path, path.with_name("teacher.jsonl")], {})
    assert graded(run).confidence[-1] == 0.0


def test_a_run_that_was_not_evaluated(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="mwalimu evaluate"):
        calibrated(Run(tmp_path))


def test_an_evaluation_without_the_teacher(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without the arm teacher"):
        calibrated(evaluated(tmp_path, arms=("student-distilled",)))


def test_an_evaluation_without_confidences(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no confidences"):
        calibrated(evaluated(tmp_path, confidence=None))


def test_an_evaluation_of_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too few test rows"):
        calibrated(evaluated(tmp_path, rows=30))
