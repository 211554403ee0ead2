import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.report import write_report
from mwalimu.run import Run
from tests.report.runs import (
    ARMS,
    HOSTILE,
    add_evaluate,
    add_finetune,
    add_generate,
    deep_scores,
    full_run,
    scores,
    write,
)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def texts(paths: tuple[Path, Path]) -> tuple[str, str]:
    markdown, page = (path.read_text(encoding="utf-8") for path in paths)
    return markdown, page


def test_the_report_is_listed_and_the_same_bytes_twice(tmp_path: Path) -> None:
    paths = write_report(full_run(tmp_path))
    before = [path.read_bytes() for path in paths]
    state = Run(tmp_path).require("report")
    assert set(state.files) == {"report.md", "report.html"}
    assert "98.9 %" in state.summary["verdict"]
    assert write_report(Run(tmp_path)) == paths
    assert [path.read_bytes() for path in paths] == before
    assert Run(tmp_path).is_done("report", state.fingerprint)


def test_both_forms_have_every_arm_task_and_section(tmp_path: Path) -> None:
    markdown, page = texts(write_report(full_run(tmp_path)))
    for name in ARMS:
        assert re.search(rf"^\| {name} \| \d", markdown, re.MULTILINE), name
        assert f">{name}<" in page
    titles = re.findall(r"^## (.*)$", markdown, re.MULTILINE)
    assert titles == re.findall(r"<h2>(.*)</h2>", page) and len(titles) == 10
    for expected in (
        "98.9 % [97.5, 100.3]",
        "+41.2 points [+39.2, +43.2]",
        "ab12",
        "0.12x",
        "12.3 s",
    ):
        assert expected in markdown and expected in page, expected


def test_the_cache_is_told_an_encoding_a_row(tmp_path: Path) -> None:
    markdown, _ = texts(write_report(full_run(tmp_path)))
    assert re.search(r"^\| topk \| 8 \| 1,234 \| 3\.00 \| 19\.7 \|$", markdown, re.MULTILINE)
    assert re.search(r"^\| realised \| 8 ", markdown, re.MULTILINE)
    assert "Left out, 1 rows" in markdown


@pytest.mark.usefixtures("no_plots")
def test_markdown_tables_have_as_many_cells_in_each_line(tmp_path: Path) -> None:
    markdown, _ = texts(write_report(full_run(tmp_path)))
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    summary = scores()
    summary["arms"][2]["name"] = summary["comparisons"][1]["against"] = HOSTILE[:-1]
    add_evaluate(run, summary)
    markdown, page = texts(write_report(run))
    for text in (markdown, page):
        assert "<script" not in text and "\x1b" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not re.search(r"(?<!\\)\]\(", markdown)
    assert not re.search("^# title", markdown, re.MULTILINE)


def test_the_page_asks_for_nothing_and_is_balanced(tmp_path: Path) -> None:
    _, page = texts(write_report(full_run(tmp_path)))
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"<(?:script|link|img|iframe)|\s(?:src|on\w+)=", page)
    assert not re.search(r"url\((?!#)|@import", page)
    open_tags: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Balance().feed(page)
    assert not open_tags


@pytest.mark.usefixtures("no_plots")
def test_a_password_in_the_servers_address_is_left_out(tmp_path: Path) -> None:
    for text in texts(write_report(full_run(tmp_path))):
        assert "secret" not in text and "https://host/v1" in text


@pytest.mark.usefixtures("no_plots")
def test_places_on_the_disk_are_told_from_the_run_folder(tmp_path: Path) -> None:
    """Where somebody keeps their files is nobody's business."""
    run = full_run(tmp_path / "runs" / "one")
    data = {"train": str(tmp_path / "data" / "train.jsonl"), "test": "/nowhere/test.jsonl"}
    run.describe(config=run.manifest["config"] | {"data": data})
    for text in texts(write_report(run)):
        assert str(tmp_path) not in text
        assert "train: ../../data/train.jsonl" in text and "test: /nowhere/test.jsonl" in text


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize(
    ("usd", "said"), [(None, "unknown"), (0.0, "0.00 USD"), (3.21, "3.21 USD")]
)
def test_money_is_known_or_called_unknown(tmp_path: Path, usd: float | None, said: str) -> None:
    markdown, page = texts(write_report(full_run(tmp_path, usd=usd)))
    assert f"| price of the answers used | {said} |" in markdown
    assert f">{said}</td>" in page


@pytest.mark.usefixtures("no_plots")
def test_outcomes_that_do_not_sum_are_not_hidden(tmp_path: Path) -> None:
    good, _ = texts(write_report(full_run(tmp_path / "a")))
    bad, _ = texts(write_report(full_run(tmp_path / "b", inputs=11)))
    assert "| all | 10 | 100.0 % |" in good and "other reasons | 1 |" in good
    assert "wrong" not in good and "this ledger is wrong" in bad


@pytest.mark.usefixtures("no_plots")
def test_a_file_that_the_manifest_does_not_list_is_not_read(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write(run.path("generate", "ledger.json"), {"inputs": 12345})
    add_finetune(run)
    markdown, _ = texts(write_report(run))
    assert "12,345" not in markdown and "no generate stage" in markdown


@pytest.mark.usefixtures("no_plots")
def test_without_an_evaluation_the_rest_is_there(tmp_path: Path) -> None:
    run = Run(tmp_path)
    add_generate(run)
    add_finetune(run)
    for text in texts(write_report(run)):
        assert "No test file was given" in text and "The data" in text
        assert "How the training went" in text and "The arms" not in text
        assert "While training: the loss jumped to 20 at step 3." in text


def test_without_a_student_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="mwalimu finetune"):
        write_report(Run(tmp_path))


@pytest.mark.usefixtures("no_plots")
def test_without_matplotlib_there_is_still_a_report(tmp_path: Path) -> None:
    markdown, page = texts(write_report(full_run(tmp_path)))
    assert "<svg" not in page and "plots need: pip install" in page
    assert "plots need: pip install 'mwalimu[eval]'" in markdown


def test_all_that_an_evaluation_can_measure_is_shown(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    add_evaluate(run, deep_scores())
    markdown, page = texts(write_report(run))
    for expected in (
        "at 0.6 % of its cost",
        "It misses the gate: latency p95 s unknown where 0.01 is required.",
        "macro F1",
        "chrF",
        "bits per byte",
        "calibration error",
        "4.3 %",
        "85.3 % of its tokens would be accepted: 3.41 tokens a step",
        "A judge preferred the student to the teacher on 48.0 % [46.0, 50.0] of 50 rows",
        "trained 2 times from other seeds: accuracy 91.0 % on average",
        "From 200 requests an hour it is cheaper",
        "p = 0.032",
        "first token p50, ms",
        "By region",
        "answers an hour",
        "9 k",
        "north",
    ):
        assert expected in page and expected in markdown, expected
    assert "BERTScore" not in page  # nobody measured it
    assert "<script>alert" not in page and "<script>alert" not in markdown


def test_what_curation_left_out_is_counted_and_shown(tmp_path: Path) -> None:
    markdown, page = texts(write_report(full_run(tmp_path)))
    for text in (markdown, page):
        assert "What was answered and is not learned" in text
    run = Run(tmp_path / "old")
    add_finetune(run)
    assert "What was answered" not in texts(write_report(run))[0]
