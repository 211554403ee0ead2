"""The notebook's cells, run in order as a notebook would, with fewer rows by its own variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from docs._tools.notebook import NOTEBOOK, cells


def test_it_is_a_notebook_without_outputs() -> None:
    whole = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in whole["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in whole["cells"]:
        assert cell["cell_type"] in ("code", "markdown") and cell["source"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.slow
def test_its_cells_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    for name, value in {"ROWS": "48", "TEST": "8", "EPOCHS": "1"}.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, (_, source) in enumerate(cells("code")):
        exec(compile(source, f"cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "48 answers; the first: " in said
    assert "student-distilled " in said and "the most accurate of 1 exports" in said
    assert (tmp_path / "runs" / "walkthrough" / "report.html").is_file()
