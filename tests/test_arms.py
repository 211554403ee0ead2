"""Which arms are made, from what, and how often: training itself is replaced."""

from pathlib import Path
from typing import Any

import pytest

from mwalimu.arms import Arms
from mwalimu.config import Config, PartConfig, build_config
from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError
from mwalimu.finetune import finetune as module
from mwalimu.judging import comparer
from mwalimu.run import Run
from tests.tiny import make_tiny_model

GOLD = [Record("g", "qa", (Message("user", "?"),), "yes")]


def job(folder: Path, **evaluate: Any) -> Config:
    raw = {
        "task": "qa",
        "seed": 3,
        "data": {"train": "unused"},
        "teacher": {"model": "fake"},
        "student": {"model": str(folder), "method": "full"},
        "finetune": {"epochs": 2},
        "evaluate": evaluate,
    }
    config = build_config(raw, base=Path("/"))
    return config.model_copy(
        update={"finetune": config.finetune.model_copy(update={"objective": ()})}
    )


def white_box(config: Config) -> Config:
    objective = (PartConfig(kind="forward_kl"),)
    finetune = config.finetune.model_copy(update={"objective": objective, "teacher": "live"})
    return config.model_copy(update={"finetune": finetune})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def train(
        student: Any, settings: Any, rows: Any, validation: Any, folder: Path, **rest: Any
    ) -> Any:
        calls.append({"folder": folder.name, "rows": rows, "settings": settings, **rest})

    monkeypatch.setattr(module, "train_student", train)
    return calls


@pytest.fixture
def run(tmp_path: Path) -> Run:
    found = Run(tmp_path / "run")
    path = found.path("generate", "train.jsonl")
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "t", "messages": []}\n', encoding="utf-8")
    found.finish("generate", "fp", [path], {})
    return found


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student"), layers=1)


def build(config: Config, run: Run, tmp_path: Path, labelled: list[Record] = GOLD) -> Arms:
    return Arms(
        config,
        run,
        tmp_path / "store",
        labelled=labelled,
        test=GOLD,
        validation=(),
        stage_fingerprint="fp",
        progress=lambda *facts: None,
    )


def test_the_four_arms_of_old_are_the_default(
    tmp_path: Path, run: Run, student: Path, trained: list[dict[str, Any]]
) -> None:
    arms = build(job(student, labelled_epochs=7), run, tmp_path).built()
    names = ["teacher", "student-before", "student-labels", "student-distilled"]
    assert [arm.name for arm in arms] == names
    assert not any(arm.repeats for arm in arms)
    (call,) = trained
    assert call["rows"] == [GOLD[0].to_json()] and call["seed"] == 3
    assert call["settings"].epochs == 7 and call["settings"].objective == ()
    without = build(job(student, arms=["labels", "distilled"]), run, tmp_path, labelled=[])
    assert [arm.name for arm in without.built()] == ["student-distilled"]


def test_several_seeds_train_again_with_the_same_budget(
    tmp_path: Path, run: Run, student: Path, trained: list[dict[str, Any]]
) -> None:
    config = white_box(job(student, arms=["labels", "text", "distilled"], seeds=3))
    arms = build(config, run, tmp_path, GOLD)
    found = arms.built()
    assert [(arm.name, arm.repeats) for arm in found] == [
        ("student-labels", ""),
        ("student-labels-seed4", "student-labels"),
        ("student-labels-seed5", "student-labels"),
        ("student-text", ""),
        ("student-text-seed4", "student-text"),
        ("student-text-seed5", "student-text"),
        ("student-distilled-seed4", "student-distilled"),
        ("student-distilled-seed5", "student-distilled"),
        ("student-distilled", ""),
    ]
    assert [call["seed"] for call in trained] == [3, 4, 5, 3, 4, 5, 4, 5]
    assert len({call["folder"] for call in trained}) == 8
    text, distilled = trained[3], trained[6]
    assert text["rows"] == distilled["rows"] == [{"id": "t", "messages": []}]
    assert text["settings"].epochs == distilled["settings"].epochs == 2
    assert text["settings"].objective == () and text["white_box"] is None
    assert distilled["settings"].objective == config.finetune.objective
    assert distilled["white_box"] is not None


def test_text_alone_is_no_arm_of_its_own_where_the_student_learns_text(
    tmp_path: Path, run: Run, student: Path, trained: list[dict[str, Any]]
) -> None:
    arms = build(job(student, arms=["text", "distilled"]), run, tmp_path).built()
    assert [arm.name for arm in arms] == ["student-distilled"] and not trained


@pytest.mark.parametrize(
    ("arms", "words"), [(["teacher"], "needs distilled"), (["distilled"] * 2, "an arm twice")]
)
def test_arms_that_make_no_comparison_are_refused(arms: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        job(Path("/student"), arms=arms)


def test_the_judge_is_asked_through_the_store(tmp_path: Path, run: Run, student: Path) -> None:
    config = job(student)
    assert comparer(config, tmp_path / "store", run.id, lambda *facts: None) is None
    judged = config.model_copy(update={"judge": config.teacher})
    ask = comparer(judged, tmp_path / "store", run.id, lambda *facts: None)
    assert ask is not None
    (text,) = ask(GOLD)
    assert text and ask(GOLD) == [text]
    assert any((tmp_path / "store").rglob("*"))
