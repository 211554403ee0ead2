"""Runs side by side: the paired test is on the same rows or on none."""

import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from mwalimu import api
from mwalimu.errors import RunError
from mwalimu.report.comparison import compare
from mwalimu.run import Run
from tests.report.runs import HOSTILE, Row, full_run, scores, write

ROWS = 60


def evaluated(root: Path, right: list[bool], reference: str = "yes", **config: object) -> Run:
    run = full_run(root)
    run.describe(config=run.manifest["config"] | config)
    rows: list[Row] = [
        {"id": str(i), "task": "qa", "reference": reference, "score": float(good)}
        | {"prediction": reference if good else HOSTILE, "finished": True}
        for i, good in enumerate(right)
    ]
    files = [
        write(run.path("evaluate", "scores.json"), scores()),
        write(run.path("evaluate", "predictions", "student-distilled.jsonl"), *rows),
    ]
    run.finish("evaluate", "e", files, scores())
    return run


def test_the_same_rows_are_compared_by_an_exact_paired_test(tmp_path: Path) -> None:
    first = evaluated(tmp_path / "a", [True] * ROWS)
    second = evaluated(tmp_path / "b", [i % 5 > 0 for i in range(ROWS)])
    facts = compare([first, second])
    test = facts["tests"][0]
    assert test["p_value"] == pytest.approx(binomtest(12, 12, 0.5).pvalue)
    assert test["difference"]["mean"] == pytest.approx(0.2)
    assert facts["verdict"].startswith("The student of a is significantly better than that of b")
    turned = compare([second, first])
    assert "significantly worse" in turned["verdict"]


@pytest.mark.parametrize("other", ["rows", "references"])
def test_other_rows_are_not_compared(tmp_path: Path, other: str) -> None:
    first = evaluated(tmp_path / "a", [True] * ROWS)
    second = (
        evaluated(tmp_path / "b", [True] * (ROWS - 1))
        if other == "rows"
        else evaluated(tmp_path / "b", [True] * ROWS, reference="no")
    )
    facts = compare([first, second])
    assert facts["tests"][0]["why_not"] == "other test rows" and "p_value" not in facts["tests"][0]


def test_settings_that_differ_are_named_with_their_values(tmp_path: Path) -> None:
    first = evaluated(tmp_path / "a", [True], finetune={"epochs": 2, "objective": []})
    second = evaluated(tmp_path / "b", [True], finetune={"epochs": 3, "objective": []}, task="nli")
    third = evaluated(tmp_path / "c", [True])
    assert compare([first, second, third])["settings"] == [
        ("finetune.epochs", ["2", "3", "not set"]),
        ("finetune.objective", ["[]", "[]", "not set"]),
        ("task", ["qa", "nli", "qa"]),
    ]


def test_both_pages_hold_both_runs_and_no_markup_of_a_name(tmp_path: Path) -> None:
    runs = [tmp_path / "<b>x" / "run", tmp_path / "y" / "run"]
    for root in runs:
        evaluated(root, [True] * ROWS)
    paths = api.compare(runs, tmp_path / "out")
    markdown, page = (path.read_text(encoding="utf-8") for path in paths)
    assert "<b>" not in markdown and "<b>" not in page and "y/run" in markdown and "y/run" in page
    assert page.count("<svg") == 2 and "http" not in page.split("</style>")[1].replace(
        "http://www.w3.org", ""
    )
    assert [path.read_bytes() for path in api.compare(runs, tmp_path / "out")] == [
        path.read_bytes() for path in paths
    ]


def test_a_run_that_is_not_trained_is_one_line(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", [True])
    with pytest.raises(RunError, match="finetune is not finished"):
        api.compare([tmp_path / "a", tmp_path / "none"], tmp_path)
    with pytest.raises(RunError, match="named twice"):
        api.compare([tmp_path / "a", tmp_path / "a"], tmp_path)
    with pytest.raises(RunError, match="needs two"):
        api.compare([tmp_path / "a"], tmp_path)
    assert json.loads((tmp_path / "a" / "run.json").read_bytes())["stages"]
