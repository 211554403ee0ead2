"""The recipe of the shipped models, for a few steps."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from mwalimu.quickstart import recipe


def test_the_recipe_makes_both_models_and_their_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"TOKENIZER_ROWS": 200, "TOKENIZER_PAGES": 100, "TEACHER_ROWS": 64}
    sizes |= {
        "MORE_PAGES": 16,
        "MORE_EXERCISES": 16,
        "PRACTICE_ROWS": 32,
        "STUDENT_PAGES": 32,
        "STUDENT_EXERCISES": 32,
        "TEACHER_PAGES": 16,
    }
    sizes |= {"VALIDATION_ROWS": 20, "TEST_ROWS": 20, "MAX_ANSWER": 4}
    for name, value in sizes.items():
        monkeypatch.setattr(recipe, name, value)
    for name in ("READING", "REREADING", "TEACHING", "PRACTISING"):
        short = getattr(recipe, name).model_copy(update={"epochs": 1, "batch_size": 32})
        monkeypatch.setattr(recipe, name, short)
    said: list[str] = []
    scores = recipe.train_models(tmp_path, lambda stage, *_: said.append(stage))
    assert set(scores) == {"nli", "conversation", "qa", "math", "summarization", "overall"}
    assert {"student reads", "teacher learns", "teacher is scored"} <= set(said)
    for name in ("teacher", "student"):
        AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert AutoTokenizer.from_pretrained(tmp_path / name).chat_template
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert "seed 0" in card and "Apache-2.0" in card
