"""The staged folder means the same job, wherever it is put."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mwalimu.azure.cloud.staging import CONFIG_FILE, relocated, stage
from mwalimu.config import Config, build_config, load_config
from mwalimu.errors import ConfigError
from tests.azure.cloud.cases import write_rows


def config(folder: Path, **changes: Any) -> Config:
    rows = write_rows(folder / "rows; rm -rf $(HOME).jsonl", 3)
    schema = folder / "schema.json"
    schema.write_text('{"type": "object"}')
    for name in ("teacher", "student"):
        (folder / name / "inside").mkdir(parents=True)
        (folder / name / "config.json").write_text(f'{{"is": "{name}"}}')
        (folder / name / "inside" / "weights").write_text(name)
    raw = {
        "task": "generic",
        "data": {"train": rows.name, "test": rows.name},
        "teacher": {"model": "teacher"},
        "student": {"model": "student"},
        "generate": {"json_schema": "schema.json"},
        "ensemble": {"strategy": "vote", "others": [{"model": "fake"}, {"model": "teacher"}]},
    }
    return build_config({**raw, **changes}, base=folder)


def bytes_of(path: Path) -> Any:
    if path.is_file():
        return path.read_bytes()
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_the_config_and_its_files_move_together(tmp_path: Path) -> None:
    source, staged, elsewhere = (tmp_path / name for name in ("a", "b", "c"))
    source.mkdir(), staged.mkdir()
    before = config(source)
    stage(before, staged)
    shutil.move(staged, elsewhere)
    after = load_config(elsewhere / CONFIG_FILE)

    def files(one: Config) -> list[Path]:
        others = one.ensemble.others if one.ensemble else ()
        named = (one.data.train, one.data.test, one.generate.json_schema)
        models = (one.teacher.model, one.student.model, others[1].model)
        return [Path(str(path)) for path in (*named, *models)]

    assert all(elsewhere in path.parents for path in files(after))
    assert [bytes_of(p) for p in files(after)] == [bytes_of(p) for p in files(before)]
    assert _without_places(after) == _without_places(before)


def _without_places(one: Config) -> Any:
    plain, _ = relocated(one)
    return plain


def test_no_name_of_a_user_s_is_in_a_path(tmp_path: Path) -> None:
    source, staged = tmp_path / "a", tmp_path / "b"
    source.mkdir(), staged.mkdir()
    stage(config(source), staged)
    assert sorted(path.name for path in (staged / "files").iterdir()) == [
        "data.test.jsonl",
        "data.train.jsonl",
        "ensemble.others.1.model",
        "generate.json_schema.json",
        "student.model",
        "teacher.model",
    ]


def test_the_sources_stay_as_they_are(tmp_path: Path) -> None:
    source, staged = tmp_path / "a", tmp_path / "b"
    source.mkdir(), staged.mkdir()
    made = config(source)
    before = bytes_of(source)
    stage(made, staged)
    shutil.rmtree(staged)
    assert bytes_of(source) == before


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"base_url": "http://localhost:8000/v1"}, r"teacher\.base_url: localhost is this machine"),
        ({"base_url": "http://127.0.0.1:1/v1"}, r"teacher\.base_url: 127\.0\.0\.1 is this machine"),
        ({"base_url": "https://me:hidden@a.example/v1"}, r"teacher\.base_url: holds a secret"),
        (
            {"base_url": "https://a.example/v1", "extra_body": {"api_key": "hidden"}},
            r"teacher\.extra_body: holds a secret",
        ),
    ],
)
def test_what_must_not_leave_the_machine(
    tmp_path: Path, teacher: dict[str, Any], said: str
) -> None:
    source, staged = tmp_path / "a", tmp_path / "b"
    source.mkdir(), staged.mkdir()
    made = config(source, teacher={"model": "m", **teacher})
    with pytest.raises(ConfigError, match=said) as raised:
        stage(made, staged)
    assert "hidden" not in str(raised.value)
    assert list(staged.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    source, staged = tmp_path / "a", tmp_path / "b"
    source.mkdir(), staged.mkdir()
    made = config(source)
    (source / "schema.json").unlink()
    with pytest.raises(ConfigError, match=r"schema\.json: no such file"):
        stage(made, staged)
