"""Models that a job registers: their folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mwalimu.config import build_config
from mwalimu.data.loading import BASE_FILE, base_of
from mwalimu.errors import ConfigError, RunError
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workers.registering import register_baseline, register_student
from mwalimu.jobs.workspace import Workspace
from mwalimu.run import Run, sha256_path
from tests.tiny import make_tiny_model


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "service")


@pytest.fixture
def models(workspace: Workspace) -> ModelStore:
    return ModelStore(Database(workspace.database))


def trained(workspace: Workspace, job: str, files: dict[str, bytes]) -> Path:
    """A run folder with a finished student of these files."""
    run = Run(workspace.run(job))
    folder = run.path("finetune", "student")
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    run.finish("finetune", "fp", list(folder.iterdir()), {})
    return folder


def test_a_second_time_nothing_is_registered_or_written(
    workspace: Workspace, models: ModelStore
) -> None:
    trained(workspace, "one", {"model.safetensors": b"weights"})
    first = register_student(workspace, models, "one", "small")
    weights = workspace.root / first.folder / "model.safetensors"
    before = weights.stat()
    assert register_student(workspace, models, "one", "small") == first
    assert weights.stat() == before
    assert first.folder == "models/small/one"


def test_a_killed_registering_leaves_nothing_half(workspace: Workspace, models: ModelStore) -> None:
    trained(workspace, "one", {"model.safetensors": b"weights"})
    half = workspace.model("small", "one").with_name(".one.making")
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"wei")
    found = register_student(workspace, models, "one", "small")
    assert (workspace.root / found.folder / "model.safetensors").read_bytes() == b"weights"
    assert not half.exists()


def test_a_student_that_is_trained_again_changes_no_registered_one(
    workspace: Workspace, models: ModelStore
) -> None:
    folder = trained(workspace, "one", {"model.safetensors": b"weights"})
    found = register_student(workspace, models, "one", "small")
    again = folder / ".new"
    again.write_bytes(b"others")
    again.rename(folder / "model.safetensors")  # as every stage publishes
    assert (workspace.root / found.folder / "model.safetensors").read_bytes() == b"weights"


def test_an_adapter_still_finds_its_base(workspace: Workspace, models: ModelStore) -> None:
    facts = {"model": "../base", "revision": None, "bits": None, "dtype": "float32"}
    folder = trained(workspace, "one", {BASE_FILE: json.dumps(facts).encode()})
    (folder.parent / "base").mkdir()
    found = register_student(workspace, models, "one", "small")
    assert base_of(workspace.root / found.folder)["model"] == str(folder.parent / "base")
    assert json.loads((folder / BASE_FILE).read_bytes()) == facts


def test_without_a_student_or_a_name_there_is_one_error(
    workspace: Workspace, models: ModelStore
) -> None:
    with pytest.raises(RunError, match="stage finetune is not finished"):
        register_student(workspace, models, "one", "small")
    trained(workspace, "one", {"model.safetensors": b"weights"})
    with pytest.raises(ConfigError, match="is no name"):
        register_student(workspace, models, "one", "../small")
    assert not (workspace.root.parent / "small").exists()


def test_a_baseline_is_made_where_no_arm_was(
    workspace: Workspace, models: ModelStore, tmp_path: Path
) -> None:
    student = make_tiny_model(tmp_path / "tiny", layers=1)
    trained(workspace, "one", {"model.safetensors": b"weights"})
    raw = {
        "task": "qa",
        "data": {"train": "unused"},
        "teacher": {"model": "fake"},
        "student": {"model": str(student), "method": "full"},
    }
    config = build_config(raw, base=tmp_path)
    found = register_baseline(workspace, models, "one", "small-baseline", config)
    weights = "model.safetensors"
    assert sha256_path(workspace.root / found.folder / weights) == sha256_path(student / weights)
