"""Students named on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mwalimu.commands.working import named_students


def test_a_folder_is_one_of_here_and_a_hub_id_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    (found,) = named_students("small, org/model,")
    key, _, value = found.partition("=")
    assert key == "tune.students"
    assert json.loads(value) == [str(tmp_path / "small"), "org/model"]
    assert named_students(None) == named_students(" ,") == []
