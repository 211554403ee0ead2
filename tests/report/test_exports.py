"""The section of the exports, in both forms, with hostile names; and the front of the plot."""

import re
from pathlib import Path
from typing import Any

import pytest

from mwalimu.report import write_report
from mwalimu.report.exports import gate_word, trade_offs
from mwalimu.report.pareto import pareto
from mwalimu.run import Run
from tests.report.runs import HOSTILE, full_run, interval, write


def export(name: str, accuracy: float, mib: float, p95: float | None, **gate: Any) -> Any:
    return {
        "name": name,
        "format": name.partition("-")[0],
        "precision": "int4" if "4" in name else "int8",
        "size_mib": mib,
        "ratio": mib / 40,
        "loaded_mib": 101.5,
        "performance": {
            "size_mib": mib,
            "latency_p95_s": p95,
            "tokens_per_s": 321.0,
            "peak_memory_mib": None,
        },
        "accuracy": interval(accuracy),
        "difference": interval(accuracy - 0.93),
        "p_adjusted": 0.031,
        "agreement": {"answers": 0.912, "prefix": 0.957, "texts": 0.93},
        "parity": {"max_error": 0.1234},
        "gate": {"passed": None, "checks": []} | gate,
    }


MISSED = {"name": "accuracy_drop", "required": 0.01, "measured": 0.03, "passed": False}
SUMMARY = {
    "student": export("student", 0.93, 40.0, 0.05),
    "exports": [
        export("onnx-int8", 0.925, 12.3, 0.02),
        export("gguf-Q4_K_M", 0.90, 8.4, 0.01, passed=False, checks=[MISSED]),
    ],
    "failed": [{"name": "web-int4", "why": HOSTILE}],
    "pick": {"name": "onnx-int8", "why": "onnx-int8 is the most accurate"},
}


def exported(root: Path, summary: Any = SUMMARY) -> Run:
    run = full_run(root)
    run.finish("export", "x", [write(run.path("export", "a.json"), {})], summary)
    return run


def test_the_section_has_every_export_its_gate_and_the_pick(tmp_path: Path) -> None:
    markdown, page = (path.read_text() for path in write_report(exported(tmp_path)))
    assert "## The exports" in markdown and "<h2>The exports</h2>" in page
    assert "Not exported: web-int4: " in markdown
    assert "Pick: onnx-int8 is the most accurate." in markdown
    row = r"^\| gguf-Q4\\_K\\_M \| 8\.40 \| 21\.0 % \| 101\.5 \| 321\.0 \| 10 \| 90\.0 % \[88"
    assert re.search(row, markdown, re.MULTILINE)
    row = "| -3.0 points [-5.0, -1.0] | p = 0.031 | 91.2 % | 95.7 % | 0.1234 | misses accuracy"
    assert row in markdown
    assert "<script>alert" not in page and 'aria-label="Accuracy of the exports' in page


def test_without_test_rows_the_scores_are_unknown(tmp_path: Path) -> None:
    bare = export("onnx-int8", 0.9, 12.3, None) | {"accuracy": None, "p_adjusted": None}
    student = export("student", 0.9, 40.0, None) | {"accuracy": None}
    markdown, _ = write_report(
        exported(tmp_path, SUMMARY | {"exports": [bare], "student": student})
    )
    assert "| onnx-int8 | unknown | unknown | unknown |" in markdown.read_text()
    assert trade_offs({"exports": [bare]}) is None and trade_offs(None) is None


def test_what_finishing_came_to_is_said(tmp_path: Path) -> None:
    finish = {"taken": True, "why": f"finished: from 84.0 to 88.5 % {HOSTILE}"}
    one, other = export("onnx-int4", 0.9, 12.3, 0.02), export("onnx-int8", 0.9, 20.0, 0.02)
    both = [one | {"finish": finish}, other | {"finish": None}]
    markdown, page = (
        path.read_text() for path in write_report(exported(tmp_path, SUMMARY | {"exports": both}))
    )
    assert "onnx-int4: finished: from 84.0 to 88.5 %" in markdown
    assert "onnx-int4: finished: from 84.0 to 88.5 %" in page and "<script>alert" not in page


def test_a_run_without_exports_has_no_section(tmp_path: Path) -> None:
    markdown, _ = write_report(full_run(tmp_path))
    assert "The exports" not in markdown.read_text()


def test_the_gate_in_a_word() -> None:
    assert gate_word(SUMMARY["exports"][0]) == "none"
    assert gate_word(export("x", 1, 1, 1, passed=True)) == "passed"


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 0.9)], [0]),
        ([(2, 0.9), (1, 0.9)], [1]),  # as good, and cheaper
        ([(1, 0.8), (2, 0.9), (3, 0.85), (4, 0.95)], [0, 1, 3]),
        ([(1, 0.9), (1, 0.95), (2, 0.95)], [1]),
        ([(1, 0.9), (1, 0.9)], [0]),
    ],
)
def test_the_front_is_what_no_other_beats(
    points: list[tuple[float, float]], front: list[int]
) -> None:
    assert pareto(points) == front
