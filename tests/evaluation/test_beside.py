"""What an evaluation measures where the config asks for it, from the config to scores.json."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.evaluation.asking import Arm
from mwalimu.evaluation.evaluate import evaluate
from mwalimu.run import Run
from tests.evaluation.test_evaluate import go, job, local, rows, served
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), layers=1)


def texts(name: str, answers: dict[str, str], **fields: Any) -> Arm:
    return replace(Arm(name, None, answers, None), **fields)


def right(*wrong: int) -> dict[str, str]:
    return {r.id: "nothing" if i in wrong else r.reference or "" for i, r in enumerate(rows())}


def test_rows_are_scored_by_their_metadata(tmp_path: Path) -> None:
    test = [
        replace(record, metadata={"topic": "a" if i < 2 else "b", "level": i} if i else {})
        for i, record in enumerate(rows())
    ]
    summary = go(tmp_path, [texts("student", right(1, 2))], test, groups=["topic", "unknown"])
    groups = summary["arms"][0]["groups"]
    assert {k: (v["rows"], v["accuracy"]["mean"]) for k, v in groups["topic"].items()} == {
        "a": (1, 0.0),
        "b": (6, pytest.approx(5 / 6)),
    }
    assert groups["unknown"] == {} and set(groups) == {"topic", "unknown"}


def test_repeats_give_a_spread_and_are_no_arms(tmp_path: Path) -> None:
    arms = [
        texts("teacher", right()),
        texts("student-seed1", right(0, 1, 2, 3), repeats="student"),
        texts("student", right(0, 1)),
    ]
    summary = go(tmp_path, arms)
    assert [arm["name"] for arm in summary["arms"]] == ["teacher", "student"]
    assert len(summary["comparisons"]) == 1
    spread = summary["seeds"]["student"]
    assert spread["accuracies"] == [0.5, 0.75] and spread["runs"] == 2
    assert spread["mean"] == 0.625 and spread["sd"] == pytest.approx(0.125 * 2**0.5)
    assert (tmp_path / "evaluate" / "predictions" / "student-seed1.jsonl").is_file()


def test_agreement_is_with_the_teacher_and_not_with_the_truth(tmp_path: Path) -> None:
    summary = go(tmp_path, [texts("teacher", right(0, 1)), texts("student", right(1, 2))])
    assert [arm["agreement"] for arm in summary["arms"]] == [None, 6 / 8]


def test_comparisons_are_corrected_for_their_number(tmp_path: Path) -> None:
    arms = [
        texts("teacher", right()),
        texts("before", right(*range(8))),
        texts("student", right(0)),
    ]
    found = go(tmp_path, arms)["comparisons"]
    assert [one["p_value"] for one in found] == [1.0, pytest.approx(2 / 2**7)]
    assert [one["p_adjusted"] for one in found] == [1.0, pytest.approx(4 / 2**7)]


def test_a_model_here_is_read_and_a_served_one_is_not(tmp_path: Path, model: Path) -> None:
    teacher, student = go(tmp_path, [served(), local("student", model)])["arms"]
    assert teacher["bits_per_byte"] is None and teacher["calibration"] is None
    assert student["bits_per_byte"] > 1
    # No answer of this model ended within four tokens: none has a probability as a whole.
    assert student["calibration"] is None
    off = go(tmp_path / "off", [local("student", model)], likelihood=False)["arms"][0]
    assert off["bits_per_byte"] is None


def test_side_by_side_with_a_local_teacher(tmp_path: Path, model: Path) -> None:
    arms = [local("teacher", model), local("student", model)]
    assert go(tmp_path, arms)["divergence"] is None
    found = go(tmp_path, arms, divergence=True)["divergence"]
    assert found["kl"] == 0 and found["acceptance"] == pytest.approx(1)
    assert found["tokens_per_step"] == pytest.approx(5)
    assert go(tmp_path / "served", [served(), arms[1]], divergence=True)["divergence"] is None


def test_load_and_price_are_published(tmp_path: Path, model: Path) -> None:
    load = {"clients": [1, 2], "requests": 3}
    arms = [served(), local("student", model)]
    summary = go(tmp_path, arms, load=load, usd_per_hour=0.5)
    measured = json.loads((tmp_path / "evaluate" / "performance.json").read_bytes())
    assert [one["clients"] for one in measured["load"]] == [1, 2]
    assert measured["method"]["warm_up"] == 2
    price = measured["price"]
    assert price == summary["price"]
    rate = measured["arms"]["student"]["requests_per_s"]
    assert price["usd_per_1k"] == pytest.approx(0.5 / 3.6 / rate)
    assert price["break_even_per_hour"] == pytest.approx(0.5 / 1.5 * 1000)


def test_the_judge_compares_the_student_with_the_teacher(tmp_path: Path) -> None:
    seen: list[Record] = []

    def ask(records: list[Record]) -> list[str]:
        seen.extend(records)
        return ["Verdict: tie"] * len(records)

    arms = [texts("teacher", right()), texts("student", right(0))]
    summary = evaluate(
        job(),
        Run(tmp_path),
        arms,
        rows(),
        stage_fingerprint="fp",
        on_progress=lambda *facts: None,
        judge=ask,
    )
    assert summary["judge"]["win_rate"]["mean"] == 0.5 and summary["judge"]["rows"] == 8
    assert len(seen) == 4 * 8


def test_the_verdict_is_published_and_a_new_gate_asks_nobody(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mwalimu.evaluation import asking

    arms = [served(), local("student", model)]
    assert go(tmp_path, arms)["verdict"] == {"passed": None, "checks": []}
    monkeypatch.setattr(asking, "load_answerer", None)
    again = go(tmp_path, arms, require={"accuracy": 0.5, "retention": 0.0})
    assert again["verdict"]["passed"] is False
    assert [check["passed"] for check in again["verdict"]["checks"]] == [False, True]


def test_graders_of_ones_own_decide(tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text("qa: {metric: token F1}", encoding="utf-8")
    answers = right() | {"r0": "the Nile river"}
    summary = go(tmp_path, [texts("student", answers)], tasks_file=str(file))
    assert summary["tasks"]["qa"]["metric"] == "token F1"
    assert summary["arms"][0]["by_task"]["qa"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    with pytest.raises(ConfigError, match="does not exist"):
        go(tmp_path, [served()], tasks_file=str(tmp_path / "absent.yaml"))
