"""Which files of a config go along, and what is refused before anything is sent."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.client.files import named, rows_files, with_texts
from mwalimu.jobs.submission import Submission


def config(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "rows.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    return given | changes


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text('{"messages": []}\n')
    (tmp_path / "Täglich & mehr.jsonl").write_text("{}\n")
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    return tmp_path


def test_a_file_is_named_after_itself_and_its_content(base: Path) -> None:
    digest = hashlib.sha256(b'{"messages": []}\n').hexdigest()
    data = {"train": "rows.jsonl", "test": "Täglich & mehr.jsonl", "labelled": "dataset:gold@2"}
    train, test = rows_files(config(data=data), base)
    assert (train.dataset, train.sha256) == (f"rows-{digest[:12]}", digest)
    assert test.dataset.startswith("T-glich-mehr-")
    given = config(data=data)
    changed = named(given, {"data.train": "dataset:a@1", "data.test": "dataset:b@1"})
    assert changed["data"] == {
        "train": "dataset:a@1",
        "test": "dataset:b@1",
        "labelled": "dataset:gold@2",
    }
    assert given["data"]["train"] == "rows.jsonl"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"train": "other.jsonl"}}, "data.train: .*no such file"),
        ({"data": {"train": "folder"}}, "no such file"),
        ({"data": {"train": "rows.csv"}}, "no JSONL.*mwalimu data convert"),
        ({"data": {"traffic": "folder"}}, "data.traffic: names a file"),
        ({"prompts": {"seeds": "rows.csv"}}, "prompts.seeds: .*no JSONL"),
        ({"evaluate": {"encoder": "folder"}}, "evaluate.encoder: names a file"),
        ({"student": {"model": "folder"}}, "student.model: folder: is a folder of this machine"),
        ({"teacher": {"model": "folder"}}, "teacher.model"),
        ({"ensemble": {"others": [{"model": "fake"}, {"model": "folder"}]}}, "others.1.model"),
        ({"curate": {"judge": {"teacher": {"model": "folder"}}}}, "curate.judge.teacher.model"),
    ],
)
def test_what_would_not_be_found_there_is_refused(
    base: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        rows_files(config(**changes), base)
    assert "\n" not in str(caught.value)


def test_small_files_go_inside_the_submission(base: Path) -> None:
    (base / "schema.json").write_text("{}")
    (base / "who.txt").write_text("a nurse\n")
    (base / "docs" / "more").mkdir(parents=True)
    (base / "docs" / "b.md").write_text("second ü")
    (base / "docs" / "a b.txt").write_text("first")
    (base / "docs" / "more" / "..c.md").write_text("third")
    (base / "docs" / "left.pdf").write_bytes(b"\xff")
    prompts = {"personas": "who.txt", "documents": "docs", "template": "file:mine"}
    given = {"config": config(prompts=prompts, generate={"json_schema": "schema.json"})}
    sent = with_texts(given, base)
    assert sent["files"] == {
        "generate.json_schema.json": "{}",
        "prompts.personas.txt": "a nurse\n",
        "prompts.documents": {
            "00000-a-b.txt": "first",
            "00001-b.md": "second ü",
            "00002-more-..c.md": "third",
        },
    }
    assert Submission.model_validate(sent).files == sent["files"]
    assert sent["config"]["prompts"] == {
        "personas": "file:prompts.personas.txt",
        "documents": "file:prompts.documents",
        "template": "file:mine",
    }
    assert given["config"]["generate"]["json_schema"] == "schema.json"
    assert with_texts({"config": config()}, base) == {"config": config()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": {"documents": "rows.csv"}}, "prompts.documents: .*no such folder"),
        ({"prompts": {"documents": "folder"}}, "prompts.documents: .*has no .txt or .md"),
        ({"generate": {"json_schema": "none.json"}}, "generate.json_schema: .*no such file"),
        ({"curate": {"json_schema": "folder"}}, "curate.json_schema: .*cannot be read"),
    ],
)
def test_what_cannot_go_along_is_one_line(base: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        with_texts({"config": config(**changes)}, base)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_valid_is_for_the_service_to_refuse(base: Path) -> None:
    """So that a mistake is told once, by the rules of the service's version."""
    odd = config(student=3, teacher=None, data={"train": "rows.jsonl"}, ensemble={"others": 7})
    assert len(rows_files(odd, base)) == 1
    assert rows_files(config(data=[1]), base) == []
