"""The funnel's steps are those of the files that the manifest lists, and their counts sum."""

from pathlib import Path

from mwalimu.report import write_report
from mwalimu.report.funnel import OTHER, Step, funnel
from tests.report.runs import Row, full_run


def of(files: dict[str, Row]) -> list[Step]:
    return funnel(lambda _, file: iter([files[file]] if file in files else []))


def test_no_files_no_steps() -> None:
    assert of({}) == []


def test_splits_are_put_together_and_what_is_unnamed_is_counted() -> None:
    train = {"in": 100, "out": 80, "removed": {"near-duplicate": 12, "contaminated": 5}}
    validation = {"in": 10, "out": 9, "removed": {"near-duplicate": 1}}
    ledger = {"inputs": 89, "outcomes": {"ok": 80, "truncated": 2, "refused": 7}}
    found = of(
        {
            "curate/funnel.json": {"splits": {"train": {"in": 80, "out": 80, "removed": {}}}},
            "generate/ledger.json": ledger,
            "prepare/funnel.json": {"splits": {"train": train, "validation": validation}},
        }
    )
    assert found == [
        Step(
            "prompts prepared",
            110,
            89,
            (("near-duplicate", 13), ("contaminated", 5), (OTHER, 3)),
        ),
        Step("prompts answered", 89, 80, (("refused", 7), ("truncated", 2))),
        Step("answers curated", 80, 80, ()),
    ]
    for step in found:
        assert step.rows_in == step.rows_out + sum(count for _, count in step.removed)


def test_the_report_shows_every_step(tmp_path: Path) -> None:
    paths = write_report(full_run(tmp_path))
    markdown, page = (path.read_text(encoding="utf-8") for path in paths)
    assert "| prompts answered | 10 | 7 | truncated: 2<br>duplicate: 1 |" in markdown
    assert "| answers curated | 7 | 5 | refusal: " in markdown
    assert 'aria-label="Rows that each step kept"' in page and "5 of 7" in page
    assert "<script>alert" not in page and "<script>alert" not in markdown
