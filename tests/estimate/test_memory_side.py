"""What training takes of memory: from the rows' lengths and the student's shape alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mwalimu.cli import app
from mwalimu.estimate import Room
from mwalimu.estimate.memory_side import Memory
from mwalimu.finetune.footprint import footprint, memory_of, needed
from tests.estimate.jobs import SERVED, of_job, prompts, write_job, write_rows
from tests.tiny import make_tiny_model

GIB = 2**30
GPU = Room("cuda", 24 * GIB)


def memory(folder: Path, student: dict[str, Any], room: Room = GPU, **changes: Any) -> Memory:
    config = write_job(folder, SERVED, prompts(20, length=400), student=student, **changes)
    found = of_job(folder, config, room=room).training.memory
    assert found is not None
    return found


def test_a_student_by_name_needs_no_weights_here(tmp_path: Path) -> None:
    found = memory(tmp_path, {"model": "phi-4-mini", "method": "lora"})
    assert found.verdict == "fits" and found.change is None
    assert 7.5 * GIB < found.needed.low <= found.needed.mid <= found.needed.high < 22 * GIB
    terms = found.peak.terms
    assert terms.weights == pytest.approx(2 * 3.836e9 + 4 * 23e6, rel=0.01)
    assert terms.total + found.libraries == found.needed.mid
    assert found.setting.shape.vocab_size == 200_064


def test_the_longest_row_decides(tmp_path: Path) -> None:
    student = {"model": "llama-3.2-1b", "method": "full"}
    short = memory(tmp_path, student)
    rows = [*prompts(20, length=400), {"prompt": "y" * 4000}]
    config = write_job(tmp_path, SERVED, rows, student=student)
    long = of_job(tmp_path, config, room=GPU).training.memory
    assert long is not None
    # 3 bytes a token at worst, 8 tokens of a template, an answer of ten.
    assert long.setting.lengths.longest == pytest.approx(4000 / 3 + 18, rel=0.1)
    assert long.needed.mid > short.needed.mid
    cut = memory(tmp_path, student | {"max_length": 64})
    assert cut.setting.lengths.longest == 64 and cut.needed.high < short.needed.high


def test_what_would_make_it_fit(tmp_path: Path) -> None:
    full = {"model": "llama-3.2-1b", "method": "full"}
    found = memory(tmp_path, full, Room("cuda", 12 * GIB), finetune={"batch_size": 8})
    assert found.verdict == "does not fit" and found.twice and found.change is not None
    assert found.change.needed <= 12 * GIB
    assert found.change.options == ("student.method=lora",)
    assert needed(found.change.how) == found.change.needed
    none = memory(tmp_path, full, Room("cuda", GIB))
    assert none.change is None and none.verdict == "does not fit"


def test_it_may_not_fit_with_the_longest_answers(tmp_path: Path) -> None:
    teacher = SERVED | {"max_tokens": 1000}
    student = {"model": "llama-3.2-1b", "method": "full"}
    rows = [row | {"reference": "word " * 800} for row in prompts(20, length=400)]
    settings = {"activation_checkpointing": "off"}
    config = write_job(tmp_path, teacher, rows, student=student, finetune=settings)
    wide = of_job(tmp_path, config, room=GPU).training.memory
    assert wide is not None and wide.needed.low < wide.needed.high
    between = Room("cuda", round((wide.needed.low + wide.needed.high) / 2))
    tight = of_job(tmp_path, config, room=between).training.memory
    assert tight is not None and tight.verdict == "may not fit"


def test_a_live_teacher_counts(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "teacher", hidden=64)
    make_tiny_model(tmp_path / "student")
    job: dict[str, Any] = {"student": {"model": "student", "method": "full"}}
    rows = prompts(4)
    teacher = {"model": "teacher", "max_tokens": 10}
    cached = of_job(tmp_path, write_job(tmp_path, teacher, rows, **job)).training.memory
    live = write_job(tmp_path, teacher, rows, finetune={"teacher": "live"}, **job)
    beside = of_job(tmp_path, live).training.memory
    assert cached is not None and beside is not None
    weights = (tmp_path / "teacher" / "model.safetensors").stat().st_size
    assert footprint(beside.setting).terms.teacher >= weights - 20_000
    assert beside.needed.mid > cached.needed.mid and not beside.unknown
    (tmp_path / "teacher" / "config.json").write_text("{}", encoding="utf-8")
    unknown = of_job(tmp_path, live).training.memory
    assert unknown is not None and "the teacher beside it" in unknown.unknown[0]


def test_this_machine_is_the_room_where_nothing_is_said(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "student")
    found = memory(tmp_path, {"model": "student", "method": "full"}, Room())
    assert found.available == memory_of(found.device) and found.verdict == "fits"


def test_the_command_prints_options_that_can_be_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "p.jsonl", prompts(20, length=400))
    config = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": SERVED,
        "student": {"model": "llama-3.2-1b", "method": "full"},
    }
    (tmp_path / "distill.yaml").write_text(json.dumps(config), encoding="utf-8")

    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["estimate", "distill.yaml", "--device", "cuda", *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    told = run("--memory", "12GB")
    assert "by a student of 1,235.8 M parameters" in told
    assert "does not fit in the 11.2 GiB of the GPU" in told
    assert "  of which:       weights " in told and ", libraries 500 MiB" in told
    fix = next(line for line in told.splitlines() if line.startswith("  to make it fit: "))
    options, _, consequence = fix.removeprefix("  to make it fit: ").partition("; ")
    assert consequence.startswith("which needs ")
    assert ": fits in the 11.2 GiB" in run("--memory", "12GB", *options.split())
    found = json.loads(run("--memory", "12GB", "--json"))["training"]["memory"]
    assert found["verdict"] == "does not fit" and found["available"] == 12 * 10**9
    assert found["needed"]["mid"] == pytest.approx(sum(found["terms"].values()))
    assert [f"--set {option}" for option in found["change"]["options"]] == [options]
    refused = CliRunner().invoke(app, ["estimate", "distill.yaml", "--memory", "much"])
    assert refused.exit_code == 1 and "no amount of memory" in str(refused.exception)
