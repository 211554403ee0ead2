from typing import Any

import pytest

from mwalimu import cli
from mwalimu.commands.working import require_gates
from mwalimu.config import RequireConfig
from mwalimu.errors import GateFailed
from mwalimu.evaluation.gate import gate, require_passed

SCORES: dict[str, Any] = {
    "retention": {"mean": 0.96, "low": 0.9, "high": 1.0},
    "arms": [
        {"name": "teacher", "accuracy": {"mean": 0.1}},
        {
            "name": "student-distilled",
            "accuracy": {"mean": 0.8},
            "macro_f1": None,
            "agreement": 0.7,
            "latency_p95_s": 0.2,
            "calibration": {"ece": 0.05},
        },
    ],
}


def verdict(**require: float) -> dict[str, Any]:
    return gate(SCORES, RequireConfig(**require))


def test_nothing_required_is_neither_passed_nor_missed() -> None:
    assert verdict() == {"passed": None, "checks": []}
    require_passed({"verdict": verdict()})
    require_passed({"rows": 3})


def test_a_value_that_is_just_reached_passes() -> None:
    found = verdict(accuracy=0.8, retention=0.96, latency_p95_s=0.2, calibration_error=0.05)
    assert found["passed"] is True and len(found["checks"]) == 4
    assert found["checks"][0] == {
        "name": "accuracy",
        "required": 0.8,
        "measured": 0.8,
        "passed": True,
    }
    require_passed({"verdict": found})


@pytest.mark.parametrize(
    ("require", "words"),
    [
        ({"accuracy": 0.81}, r"accuracy 0.8 \(0.81 required\)"),
        ({"retention": 0.97}, r"retention 0.96 \(0.97 required\)"),
        ({"agreement": 0.71}, r"agreement 0.7 \(0.71 required\)"),
        ({"latency_p95_s": 0.1}, r"latency_p95_s 0.2 \(at most 0.1 required\)"),
        ({"calibration_error": 0.01}, r"calibration_error 0.05 \(at most 0.01 required\)"),
        ({"macro_f1": 0.0}, r"macro_f1 is unknown \(0 required\)"),
    ],
)
def test_what_is_missed_is_named(require: dict[str, float], words: str) -> None:
    found = verdict(**require)
    assert found["passed"] is False
    with pytest.raises(GateFailed, match=words) as caught:
        require_passed({"verdict": found})
    assert caught.value.exit_code == 12 and "\n" not in str(caught.value)


def test_all_that_is_missed_is_in_one_line() -> None:
    with pytest.raises(GateFailed, match=r"accuracy 0.8 .*, agreement 0.7"):
        require_passed({"verdict": verdict(accuracy=0.9, agreement=0.9, retention=0.5)})


def test_without_a_teacher_retention_is_unknown() -> None:
    found = gate(SCORES | {"retention": None}, RequireConfig(retention=0.5))
    assert found["passed"] is False and found["checks"][0]["measured"] is None


def test_the_command_fails_with_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"verdict": verdict(accuracy=0.9)}
    with pytest.raises(SystemExit) as caught:
        cli.main(lambda: require_gates(scores))
    assert caught.value.code == 12
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: evaluate.require: the student misses the gate: accuracy 0.8")
