"""The workspace's folder: names that become paths, and what is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.workspace import Workspace
from tests.jobs.waiting import wait_for


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", ".hidden", "a.", "a\\b", "a\0b", "a\nb", "é", "x" * 300]
)
def test_what_is_no_name_becomes_no_path(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for place in (workspace.job, workspace.run, workspace.log, workspace.worker):
        with pytest.raises(ConfigError, match="is no name"):
            place(name)
    with pytest.raises(ConfigError, match="is no name"):
        workspace.model("fine", name)


def test_what_is_removed_is_gone_at_once_and_its_bytes_soon(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for removed in ("jobs/one", "models/small/one"):
        folder = tmp_path / removed
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x")
    (tmp_path / "rows.jsonl").write_bytes(b"{}")
    workspace.remove_job("one")
    assert not workspace.job("one").exists()
    workspace.job("one").mkdir()  # the name is free
    workspace.remove("models/small/one")
    workspace.remove("rows.jsonl")
    workspace.remove("rows.jsonl")
    wait_for(lambda: not list((tmp_path / "removed").iterdir()))
    assert workspace.job("one").is_dir()


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "removed" / "ab" / "run"
    left.mkdir(parents=True)
    Workspace(tmp_path).sweep()
    assert not list((tmp_path / "removed").iterdir())
