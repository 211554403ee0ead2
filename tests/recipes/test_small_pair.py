"""What a small pair is given, and that it runs the recipe's own job with it."""

import json
from pathlib import Path
from typing import Any

import pytest
from recipes.make_data import RECIPES

from mwalimu.config import load_config
from mwalimu.errors import ConfigError, DataError
from recipes import material, small_pair


def chat(name: str, asked: str, said: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return {"id": name, "task": "nli", "messages": turns}


def real_set(folder: Path, rows: int) -> Path:
    for split in ("train", "validation", "test"):
        chats = [chat(f"{split}-{n}", f"{split} {n}?", "neutral") for n in range(rows)]
        chats.append(chat(f"{split}-long", "word " * 200, "neutral"))
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chats))
    return folder


def test_real_rows_are_lessons_or_prompts_and_never_both(tmp_path: Path) -> None:
    made = material.of_set(real_set(tmp_path, 10), "nli", tmp_path / "out")
    asked = [json.loads(line) for line in Path(made.data["train"]).read_text().splitlines()]
    assert [row["id"] for row in made.lessons] == [f"train-{n}" for n in range(5)]
    assert [row["id"] for row in asked] == [f"train-{n}" for n in range(5, 10)]
    assert {row["messages"][-1]["role"] for row in asked} == {"user"}
    assert [row["messages"][-1]["content"] for row in made.pages] == [
        f"train {n}?" for n in range(5, 10)
    ]
    held_out = [json.loads(line) for line in Path(made.data["test"]).read_text().splitlines()]
    assert [row["id"] for row in held_out] == [f"test-{n}" for n in range(10)]


def test_what_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="too few rows of up to 360 characters"):
        material.of_set(real_set(tmp_path, 1), "nli", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"no world\.py; name real rows with --data"):
        small_pair.run(RECIPES / "formats" / "nli", None, tmp_path)
    nowhere = ["small_pair", "formats/nli", "--data", str(tmp_path / "no"), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", nowhere)
    assert small_pair.main() == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_more_prompts_are_of_the_prompts_side(tmp_path: Path) -> None:
    own = RECIPES / "translation" / "prompts.jsonl"
    made = material.of_world(RECIPES / "translation", own, tmp_path)
    text = Path(made.data["train"]).read_text(encoding="utf-8")
    assert text.startswith(own.read_text(encoding="utf-8"))
    asked = {json.loads(line)["prompt"] for line in text.splitlines()}
    assert len(asked) == len(text.splitlines()) > 2000
    test = (RECIPES / "translation" / "test.jsonl").read_text(encoding="utf-8")
    assert not asked & {json.loads(line)["prompt"] for line in test.splitlines()}
    assert not asked & {row["messages"][1]["content"] for row in made.lessons}
    assert "completion" not in text


def test_the_job_is_the_recipes_own_but_for_the_pair(tmp_path: Path) -> None:
    folder = RECIPES / "financial-risk"
    asked = load_config(folder / "distill.yaml")
    pair = {"teacher": tmp_path / "teacher", "student": tmp_path / "student"}
    config = small_pair.small_job(asked, folder, {}, pair)
    assert config.teacher.model == str(tmp_path / "teacher") and not config.teacher.remote
    assert config.student.model == str(tmp_path / "student")
    assert (config.task, config.data.train) == (asked.task, asked.data.train)
    assert (config.curate, config.prepare) == (asked.curate, asked.prepare)
    assert config.evaluate.require == asked.evaluate.require
    assert config.evaluate.tasks_file == asked.evaluate.tasks_file
    assert config.generate.json_schema is None and asked.generate.json_schema is not None
