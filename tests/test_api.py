"""The verbs as functions, and the words of a notebook as a tutorial writes them."""

import json
from pathlib import Path

import pytest

import mwalimu
from mwalimu import api
from mwalimu.errors import DataError, StudentError
from tests.tiny import make_tiny_model


def write_rows(path: Path, count: int) -> Path:
    rows = [{"prompt": f"say {i}", "completion": f"{i}"} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_the_public_lists_are_sorted_and_resolve() -> None:
    for module in (mwalimu, api):
        assert list(module.__all__) == sorted(module.__all__)
        assert all(callable(getattr(module, name)) for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mwalimu.nothing  # noqa: B018  # the look-up is what is tested


def test_the_words_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mwalimu import fine_tune_student, generate_teacher_responses, load_dataset, load_model

    monkeypatch.chdir(tmp_path)
    student_folder = make_tiny_model(tmp_path / "tiny")
    training_data = load_dataset(str(write_rows(tmp_path / "train.jsonl", 12)))
    validation_data = load_dataset(str(write_rows(tmp_path / "validation.jsonl", 4)))
    teacher_model = load_model("fake")

    synthetic_training_data = generate_teacher_responses(teacher_model, training_data)
    synthetic_validation_data = generate_teacher_responses(teacher_model, validation_data)
    assert [row.id for row in synthetic_training_data] == [row.id for row in training_data]
    assert all(row.reference.startswith("answer ") for row in synthetic_training_data)

    student_model = load_model(str(student_folder), method="full", max_length=256)
    trained_student = fine_tune_student(
        student_model, synthetic_training_data, synthetic_validation_data, epochs=1
    )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoModelForCausalLM.from_pretrained(trained_student.name).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(trained_student.name).chat_template
    # A trained student is a teacher like any other.
    answers = generate_teacher_responses(
        load_model(trained_student.name, max_tokens=4), training_data[:2]
    )
    assert len(answers) <= 2


def test_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        api.load_dataset(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="has no rows"):
        api.generate_teacher_responses(api.load_model("fake"), [])
    rows = api.load_dataset(write_rows(tmp_path / "rows.jsonl", 2))
    with pytest.raises(StudentError):
        api.fine_tune_student(api.load_model(str(tmp_path / "no-student")), rows)
