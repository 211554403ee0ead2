import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, build_config
from mwalimu.data.record import Message, Record
from mwalimu.errors import DataError
from mwalimu.evaluation import asking as module
from mwalimu.evaluation.asking import Arm
from mwalimu.evaluation.evaluate import evaluate
from mwalimu.run import Run
from tests.tiny import make_tiny_model

TASKS = ("qa", "nli", "math", "my own")
GOLD = {"qa": "Nile", "nli": "neutral", "math": "#### 1,000", "my own": "hi"}
ARM_KEYS = {
    *("name", "accuracy", "by_task", "token_f1", "bleu", "rouge_l", "finished", "latency_p50_s"),
    *(
        "latency_p95_s",
        "tokens_per_s",
        "requests_per_s",
        "peak_memory_mib",
        "parameters",
        "size_mib",
        "usd_per_1k",
    ),
    *("metrics", "groups", "macro_f1", "chrf", "rouge_1", "rouge_2", "bert_score", "bits_per_byte"),
    *("calibration", "agreement", "latency_p99_s", "first_token_p50_s", "joules_per_request"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("models")
    return [make_tiny_model(root / str(seed), layers=1, seed=seed) for seed in range(2)]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were loaded to be asked, in order."""
    folders: list[Path] = []
    real = module.load_answerer

    def load(folder: Path, **options: Any) -> Any:
        folders.append(folder)
        return real(folder, **options)

    monkeypatch.setattr(module, "load_answerer", load)
    return folders


def job(**evaluate_settings: Any) -> Config:
    raw = {
        "task": "generic",
        "seed": 3,
        "data": {"train": "unused"},
        "teacher": {"model": "fake"},
        "student": {"model": "unused"},
        "evaluate": {"max_tokens": 4, "batch_size": 4, "bootstrap": 100} | evaluate_settings,
    }
    return build_config(raw, base=Path("/"))


def rows(count: int = 8) -> list[Record]:
    return [
        Record(f"r{i}", task, (Message("user", f"question {i}" * (1 + i % 3)),), GOLD[task])
        for i in range(count)
        for task in [TASKS[i % 4]]
    ]


def served(*wrong: str) -> Arm:
    answers = {r.id: "nothing" if r.id in wrong else r.reference or "" for r in rows()}
    return Arm("teacher", None, answers, 1.5)


def local(name: str, folder: Path) -> Arm:
    return Arm(name, folder, None, None)


def go(
    root: Path,
    arms: list[Arm],
    test: list[Record] | None = None,
    *,
    stage: str = "fp",
    progress: Any = lambda *facts: None,
    **settings: Any,
) -> dict[str, Any]:
    return evaluate(
        job(**settings),
        Run(root),
        arms,
        rows() if test is None else test,
        stage_fingerprint=stage,
        on_progress=progress,
    )


def strict(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def predictions(root: Path, arm: str) -> list[dict[str, Any]]:
    text = (root / "evaluate" / "predictions" / f"{arm}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_everything_is_published(tmp_path: Path, models: list[Path]) -> None:
    arms = [served("r0"), local("student-before", models[0]), local("student", models[1])]
    summary = go(tmp_path, arms)
    state = Run(tmp_path).require("evaluate")
    assert state.fingerprint == "fp" and state.summary == summary
    assert strict(tmp_path / "evaluate" / "scores.json") == summary
    measured = strict(tmp_path / "evaluate" / "performance.json")["arms"]
    assert measured["teacher"]["latency_p50_s"] is None
    assert measured["student"]["latency_rows"] == 8
    assert sorted(state.files) == [
        "evaluate/performance.json",
        "evaluate/predictions/student-before.jsonl",
        "evaluate/predictions/student.jsonl",
        "evaluate/predictions/teacher.jsonl",
        "evaluate/scores.json",
    ]
    assert [row["id"] for row in predictions(tmp_path, "student")] == [r.id for r in rows()]


def test_the_summary_keeps_its_contract(tmp_path: Path, models: list[Path]) -> None:
    summary = go(tmp_path, [served("r0"), local("student", models[1])])
    assert (summary["rows"], summary["seed"], summary["bootstrap"]) == (8, 3, 100)
    assert summary["missing"] == []
    assert summary["tasks"]["math"] == {"rows": 2, "metric": "numeric match"}
    assert summary["tasks"]["my own"] == {"rows": 2, "metric": "exact match"}
    teacher, student = summary["arms"]
    assert set(teacher) == set(student) == ARM_KEYS
    assert teacher["accuracy"]["mean"] == 7 / 8 and teacher["by_task"]["qa"]["mean"] == 1 / 2
    assert teacher["usd_per_1k"] == 1.5 and teacher["finished"] is None
    assert student["parameters"] > 0 and student["finished"] == 0.0
    # Wilson's interval of 0 of 8: z^2 / (8 + z^2) is its upper end.
    assert student["accuracy"] == {"mean": 0, "low": 0, "high": pytest.approx(0.3244, abs=1e-4)}
    (comparison,) = summary["comparisons"]
    assert (comparison["arm"], comparison["against"]) == ("student", "teacher")
    assert comparison["difference"]["mean"] == -7 / 8
    assert comparison["test"] == "exact McNemar"
    assert comparison["p_value"] == comparison["p_adjusted"] == pytest.approx(2 / 2**7)
    assert summary["retention"] == {"mean": 0, "low": 0, "high": 0}


def test_summaries_are_compared_by_permutation(tmp_path: Path) -> None:
    test = [Record(f"s{i}", "summarization", (Message("user", "?"),), "red cat") for i in range(6)]
    arms = [
        Arm("teacher", None, {r.id: "" for r in test}, None),
        Arm("student", None, {r.id: "red dog" for r in test}, None),
    ]
    summary = go(tmp_path, arms, test)
    (comparison,) = summary["comparisons"]
    assert comparison["test"] == "paired permutation"
    # All six differ the same way: 2 of the 64 sign patterns are as extreme.
    assert comparison["p_value"] == pytest.approx(2 / 64, abs=0.01)
    assert summary["arms"][1]["accuracy"]["mean"] == summary["arms"][1]["token_f1"] == 0.5
    assert summary["retention"] is None  # the teacher has no accuracy to keep
    strict(tmp_path / "evaluate" / "scores.json")


def test_an_interrupted_stage_goes_on_with_the_next_arm(
    tmp_path: Path, models: list[Path], loaded: list[Path]
) -> None:
    arms = [local("student-before", models[0]), local("student", models[1])]

    def interrupt(stage: str, done: int, total: int, note: str) -> None:
        if stage == "evaluate student" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, arms, progress=interrupt)
    assert loaded == models and Run(tmp_path).stage("evaluate") is None
    seen: list[tuple[Any, ...]] = []
    resumed = go(tmp_path, arms, progress=lambda *facts: seen.append(facts))
    assert loaded == [*models, models[1]]
    assert ("evaluate student-before", 8, 8, "already done") in seen
    # The first batch was on disk when the kill came.
    assert [facts[1] for facts in seen if facts[0] == "evaluate student"] == [4, 8]
    fresh = go(tmp_path / "fresh", arms)
    assert resumed["comparisons"] == fresh["comparisons"]
    assert predictions(tmp_path, "student") == predictions(tmp_path / "fresh", "student")


def test_damage_and_changes_ask_the_arm_again(
    tmp_path: Path, models: list[Path], loaded: list[Path]
) -> None:
    folder = shutil.copytree(models[0], tmp_path / "model")
    arms = [local("student", folder)]
    first = go(tmp_path, arms)["arms"][0]["accuracy"]
    go(tmp_path, arms)
    assert len(loaded) == 1
    path = tmp_path / "evaluate" / "predictions" / "student.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    journal = tmp_path / "evaluate" / "answers" / "student.jsonl"
    assert go(tmp_path, arms)["arms"][0]["accuracy"] == first
    assert len(loaded) == 1 and path.read_bytes() == whole  # graded anew from the answers
    journal.write_bytes(journal.read_bytes()[:-9])
    assert go(tmp_path, arms)["arms"][0]["accuracy"] == first
    assert len(loaded) == 2 and path.read_bytes() == whole
    (tmp_path / "evaluate" / "performance" / "student.json").write_text("{", encoding="utf-8")
    go(tmp_path, arms)
    assert len(loaded) == 3
    go(tmp_path, arms, stage="other")
    assert len(loaded) == 4
    go(tmp_path, arms, stage="other", max_tokens=3)
    assert len(loaded) == 5
    shutil.copy(models[1] / "model.safetensors", folder)
    go(tmp_path, arms, stage="other", max_tokens=3)
    assert len(loaded) == 6


def test_rows_without_gold_are_refused(tmp_path: Path) -> None:
    bare = [Record(f"b{i}", "qa", (Message("user", "?"),)) for i in range(2)]
    with pytest.raises(DataError, match="2 of 10 rows have no gold answer, the first is 'b0'"):
        go(tmp_path, [served()], [*rows(), *bare])
    with pytest.raises(DataError, match="no rows"):
        go(tmp_path, [served()], [])


def test_an_over_long_prompt_is_a_wrong_answer(tmp_path: Path, models: list[Path]) -> None:
    long = Record("long", "qa", (Message("user", "x" * 600),), "Nile")
    go(tmp_path, [local("student", models[0])], [rows()[0], long])
    row = predictions(tmp_path, "student")[1]
    assert (row["prediction"], row["finished"], row["score"]) == ("", False, 0)


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    summary = go(tmp_path, [served()])
    assert summary["missing"] == ["pip install 'mwalimu[eval]'"]
    assert summary["arms"][0]["bleu"] is None and summary["arms"][0]["rouge_l"] == 1
    assert summary["comparisons"] == [] and summary["retention"] is None


def test_remote_code_is_the_students_alone(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted: dict[Path, bool] = {}
    real = module.load_answerer

    def load(folder: Path, **options: Any) -> Any:
        trusted[folder] = options["trust_remote_code"]
        return real(folder, **options | {"trust_remote_code": False})

    monkeypatch.setattr(module, "load_answerer", load)
    config = job()
    student = config.student.model_copy(update={"trust_remote_code": True})
    evaluate(
        config.model_copy(update={"student": student}),
        Run(tmp_path),
        [local("teacher", models[0]), local("student", models[1])],
        rows(),
        stage_fingerprint="fp",
        on_progress=lambda *facts: None,
    )
    assert trusted == {models[0]: False, models[1]: True}
