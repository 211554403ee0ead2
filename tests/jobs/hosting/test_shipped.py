"""The quickstart in a new service: what is registered, and that a job can name it."""

from __future__ import annotations

import json
from pathlib import Path

from mwalimu.files import sha256_file
from mwalimu.jobs.hosting.shipped import put_quickstart
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workspace import Workspace
from mwalimu.quickstart.job import write_job


def test_its_rows_and_models_are_there_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "service")
    database = Database(workspace.database)
    datasets, models = DatasetStore(database), ModelStore(database)
    for _ in range(2):
        put_quickstart(workspace, datasets, models)
    write_job(tmp_path / "command")
    for split in ("train", "validation", "test", "labelled"):
        found = datasets.get(f"quickstart-{split}")
        file = workspace.root / found.file
        assert found.version == 1
        assert found.sha256 == sha256_file(file)
        assert sha256_file(tmp_path / "command" / "data" / f"{split}.jsonl") == found.sha256
        assert len(file.read_bytes().splitlines()) == found.rows
    assert sorted(path.suffix for path in workspace.datasets.iterdir()) == [".jsonl"] * 4
    for which in ("teacher", "student"):
        model = models.get(f"quickstart-{which}")
        assert model.version == 1
        assert json.loads((workspace.root / model.folder / "config.json").read_bytes())
