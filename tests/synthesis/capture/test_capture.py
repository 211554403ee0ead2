"""The stage: its summary, what is left out of it, and that it can be killed and go on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError, TeacherError
from mwalimu.run import Run
from mwalimu.signals import SignalReader
from mwalimu.synthesis.capture.capture import capture
from mwalimu.synthesis.capture.scorers import build_scorer
from tests.synthesis.capture.jobs import answered_run, examples, gold_rows, job

LONG = "it is longer than the teacher's context"


def captured(folder: Path, rows: list[dict[str, Any]], **signals: Any) -> tuple[Run, Any]:
    config = job(folder, ["forward_kl", "chunk_likelihood"], signals=signals)
    run = Run(folder / "run") if (folder / "run").exists() else answered_run(folder / "run", rows)
    scorer = build_scorer(config, folder / "answers")
    quiet = lambda *_: None  # noqa: E731
    return run, capture(config, run, scorer, stage_fingerprint="x", on_progress=quiet)


def too_long(row: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "user", "content": "lamp " * 300}
    return row | {"messages": [message, row["messages"][-1]]}


def test_the_summary_counts_and_the_reader_finds(tmp_path: Path) -> None:
    rows = gold_rows(9)
    rows[4] = too_long(rows[4])
    run, summary = captured(tmp_path, rows, rows_per_shard=4)
    assert summary["examples"] == 9 and summary["encodings"] == "sampled, realised"
    assert summary["sampled_rows"] == summary["realised_rows"] == 8
    assert summary["left_out"] == {LONG: 1}
    assert 0 < summary["seconds"] < 600
    notes = json.loads(run.path("signals", "left_out", "train-00001.json").read_bytes())
    assert notes == [[rows[4]["id"], LONG]]
    listed = run.require("signals").files
    assert "signals/left_out/train-00001.json" in listed
    assert len([name for name in listed if name.startswith("signals/sampled/")]) == 4
    reader = SignalReader.open(run.path("signals", "sampled", "train"))
    known = [reader.has(example.key) for example in examples(9)]
    assert known == [index != 4 for index in range(9)]


def test_a_finished_shard_keeps_its_reasons(tmp_path: Path) -> None:
    """A second life does not score it again, and tells the same."""
    rows = gold_rows(6)
    rows[0] = too_long(rows[0])
    _, summary = captured(tmp_path, rows, rows_per_shard=3)
    again = captured(tmp_path, rows, rows_per_shard=3)[1]
    assert again | {"seconds": 0} == summary | {"seconds": 0} and again["left_out"] == {LONG: 1}
    other = captured(tmp_path, rows, rows_per_shard=3, draws=5)[1]
    assert other["left_out"] == {LONG: 1} and other["sampled_rows"] == 5


def test_a_stage_that_says_nothing_of_any_row_is_an_error(tmp_path: Path) -> None:
    rows = [too_long(row) for row in gold_rows(2)]
    with pytest.raises(TeacherError, match=f"none of 2 rows has sampled signals .{LONG}"):
        captured(tmp_path, rows)


@pytest.mark.parametrize("kind", ["fake", "anthropic"])
def test_a_teacher_of_text_alone_is_refused(tmp_path: Path, kind: str) -> None:
    config = job(tmp_path, teacher={"kind": kind})
    with pytest.raises(ConfigError, match=f"a teacher of kind {kind} tells nothing but"):
        build_scorer(config, tmp_path)


@pytest.mark.parametrize(
    ("objective", "encoding", "what"),
    [
        ("forward_kl", "sampled", "gives no sampled signals"),
        (["forward_kl", "hidden"], "topk", "gives no hidden signals"),
        ({"kind": "forward_kl", "temperature": 2.0}, "topk", "are at temperature 1"),
    ],
)
@pytest.mark.parametrize("teacher", [{"kind": "vllm"}, {"base_url": "http://localhost:9/v1"}])
def test_what_reported_log_probabilities_cannot_be(
    tmp_path: Path, teacher: dict[str, str], objective: Any, encoding: str, what: str
) -> None:
    config = job(tmp_path, objective, teacher=teacher, signals={"encoding": encoding})
    with pytest.raises(ConfigError, match=what):
        build_scorer(config, tmp_path)


def test_killed_at_any_step_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    every = "1" if os.environ.get("MWALIMU_LONG") else "5"
    done = subprocess.run(
        [sys.executable, "-m", "tests.synthesis.capture.lives", str(tmp_path), every],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same"] and found["killed"] == found["lives"] > 5
