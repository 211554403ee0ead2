"""Whole jobs that learn by the teacher's distribution: skipped, killed, changed, damaged."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu import api
from mwalimu.cli import main
from mwalimu.config import Config, load_config
from mwalimu.errors import ConfigError, RunError
from mwalimu.files import sha256_file
from mwalimu.quickstart.job import write_job
from tests.command import processes

ROWS = {"train": 32, "validation": 6}
SHORT = ("finetune.epochs=1", "signals.rows_per_shard=10")
STAGES = ["generate", "curate", "signals", "finetune"]


class Notes(list[tuple[str, str]]):
    """A progress callback that keeps (stage, note)."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.append((stage, note))

    @property
    def skipped(self) -> list[str]:
        return [stage for stage, note in self if note == "already done"]


def job(folder: Path, *overrides: str) -> Config:
    return load_config(folder / "distill.yaml", [*SHORT, *overrides])


def run(folder: Path, *overrides: str) -> Notes:
    notes = Notes()
    store = folder / "answers"
    api.run(job(folder, *overrides), folder / "run", store=store, progress=notes)
    return notes


def hashes(folder: Path) -> dict[str, str]:
    """Of the signals and the student."""
    paths = [*(folder / "run" / "signals").rglob("*.*")]
    paths.append(folder / "run" / "finetune" / "student" / "model.safetensors")
    return {str(p.relative_to(folder)): sha256_file(p) for p in paths if p.is_file()}


def stages(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "run.json").read_bytes())["stages"]
    return found


def parts(folder: Path, *where: str) -> set[str]:
    lines = map(json.loads, (folder / "run").joinpath(*where).read_bytes().splitlines())
    return {name for line in lines for name in line.get("parts", {})}


def write_short_job(folder: Path) -> None:
    """Without held-out rows: nothing is evaluated."""
    path = write_job(folder, rows=ROWS)
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    del config["finetune"]["objective"]  # auto
    config["data"] = {split: f"data/{split}.jsonl" for split in ROWS}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Notes]:
    folder = tmp_path_factory.mktemp("whole")
    write_short_job(folder)
    return folder, run(folder)


@pytest.fixture
def copy(whole: tuple[Path, Notes], tmp_path: Path) -> Path:
    """The finished run, to be changed."""
    shutil.copytree(whole[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_auto_captures_and_says_what_it_chose(whole: tuple[Path, Notes]) -> None:
    folder, notes = whole
    found = stages(folder)
    assert set(found) == {*STAGES, "report"} and not notes.skipped
    for split, shards in (("train", 4), ("validation", 1)):
        names = ["manifest.json", *(f"shard-{i:05d}.safetensors" for i in range(shards))]
        for name in names:
            assert f"signals/topk/{split}/{name}" in found["signals"]["files"]
    assert found["signals"]["summary"]["topk_tokens"] > 32
    why = found["finetune"]["summary"]["objective"]
    assert why.startswith(
        "forward_kl + cross_entropy: the teacher's distribution, token by token: "
    )
    assert ("objective", why) in notes
    for name in ("report.md", "report.html"):
        text = (folder / "run" / name).read_text(encoding="utf-8")
        assert "The student learned by forward" in text
    assert parts(folder, "finetune", "metrics.jsonl") == {"forward_kl", "cross_entropy"}


def test_a_second_run_does_nothing_again(copy: Path) -> None:
    before = hashes(copy)
    assert run(copy).skipped == STAGES
    assert hashes(copy) == before


def killed_run(folder: Path, event: int, overrides: tuple[str, ...]) -> None:
    seen = 0

    def kill(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal seen
        seen += stage == "signals"
        if seen == event:
            os.kill(os.getpid(), signal.SIGKILL)

    store = folder / "answers"
    api.run(job(folder, *overrides), folder / "run", store=store, progress=kill)


@pytest.mark.parametrize("event", [2, 5])
def test_killed_while_it_captures_it_ends_with_the_same_bytes(
    whole: tuple[Path, Notes], copy: Path, event: int
) -> None:
    """After the second shard of four, and after the only one of the validation rows."""
    shutil.rmtree(copy / "run" / "signals")
    process = processes().Process(target=killed_run, args=(copy, event, ()))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    found = sorted((copy / "run" / "signals").rglob("shard-*.safetensors"))
    assert len(found) == event
    before = {path: path.stat().st_mtime_ns for path in found}
    notes = run(copy)
    assert notes.skipped == ["generate", "curate", "finetune"]
    assert {path: path.stat().st_mtime_ns for path in found} == before
    assert hashes(copy) == hashes(whole[0])


def test_another_k_is_captured_without_asking_again(whole: tuple[Path, Notes], copy: Path) -> None:
    notes = run(copy, "signals.k=4")
    assert notes.skipped == ["generate", "curate"]
    before, after = hashes(whole[0]), hashes(copy)
    assert before.keys() == after.keys()
    assert all(after[name] != before[name] for name in before)
    settings = yaml.safe_load((copy / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert settings["signals"]["k"] == 4
    manifest = json.loads((copy / "run" / "run.json").read_bytes())
    assert manifest["config"]["signals"]["k"] == 4
    # And back: the answers are the same, so are the signals and the student.
    assert run(copy).skipped == ["generate", "curate"]
    assert hashes(copy) == before


def test_how_a_capture_is_cut_up_changes_no_signal(whole: tuple[Path, Notes], copy: Path) -> None:
    assert run(copy, "signals.batch_size=3").skipped == STAGES
    notes = run(copy, "signals.rows_per_shard=32")
    assert notes.skipped == ["generate", "curate"]
    student = "run/finetune/student/model.safetensors"
    assert hashes(copy)[student] == hashes(whole[0])[student]


def test_text_alone_captures_nothing(copy: Path) -> None:
    shutil.rmtree(copy / "run" / "signals")
    notes = run(copy, "finetune.objective=cross_entropy")
    assert notes.skipped == ["generate", "curate"]
    assert not (copy / "run" / "signals").exists()
    assert parts(copy, "finetune", "metrics.jsonl") == {"cross_entropy"}
    summary = stages(copy)["finetune"]["summary"]
    assert summary["objective"] == "cross_entropy: the teacher's answers as text, as asked"
    assert "The student learned by cross" in (copy / "run" / "report.md").read_text()


@pytest.mark.parametrize(
    ("objective", "encodings"),
    [
        ("[reverse_kl, {kind: hidden, pairs: 1}, {kind: cross_entropy, weight: 0.1}]", 2),
        ("[chunk_likelihood, {kind: jsd, beta: 0.9}]", 2),
        ("attention", 0),
    ],
)
def test_other_objectives_go_all_the_way(copy: Path, objective: str, encodings: int) -> None:
    shutil.rmtree(copy / "run" / "signals")
    notes = run(copy, f"finetune.objective={objective}")
    assert notes.skipped == ["generate", "curate"]
    captured = copy / "run" / "signals"
    assert len(list(captured.glob("*/train/manifest.json"))) == encodings
    assert "The student learned by " in (copy / "run" / "report.md").read_text()


def test_training_before_the_capture_says_what_to_run(copy: Path) -> None:
    shutil.rmtree(copy / "run" / "signals")
    with pytest.raises(RunError, match="run 'mwalimu signals capture' on this run folder first"):
        api.finetune(job(copy), copy / "run")


def test_what_cannot_work_is_refused_before_the_first_answer(tmp_path: Path) -> None:
    write_short_job(tmp_path)
    with pytest.raises(ConfigError, match="draws give no unbiased reverse_kl"):
        run(tmp_path, "finetune.objective=reverse_kl", "signals.encoding=sampled")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process, in the folder of a finished run: (code, output, errors)."""
    monkeypatch.chdir(copy)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mwalimu", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


TRAIN = "run/signals/topk/train"
SETS = [word for override in SHORT for word in ("--set", override)]
CAPTURE = ("signals", "capture", "distill.yaml", "--run", "run", *SETS)


def test_the_command_line_captures_once(copy: Path, cli: Cli) -> None:
    shutil.rmtree(copy / "run" / "signals")
    code, output, _ = cli(*CAPTURE)
    assert code == 0 and "topk_tokens: " in output
    assert "signals: 1/1 already done" in cli(*CAPTURE)[2]
    code, output, _ = cli(*CAPTURE, "--set", "finetune.objective=cross_entropy")
    assert code == 0 and "the objective needs no signals" in output


def test_the_command_line_inspects_and_finds_damage(copy: Path, cli: Cli) -> None:
    shown = cli("signals", "inspect", TRAIN)[1]
    assert "mwalimu signals 1: kind topk" in shown and "k 16" in shown
    assert "32 rows" in shown
    code, output, _ = cli("signals", "verify", TRAIN)
    assert code == 0 and output.count("whole") == 4
    path = copy / TRAIN / "shard-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, output, errors = cli("signals", "verify", TRAIN)
    assert code == 8 and not output and errors.count("\n") == 1
    assert "shard-00001.safetensors" in errors
    code, _, errors = cli(*CAPTURE)
    assert code == 0 and "already done" not in errors
    assert cli("signals", "verify", TRAIN)[0] == 0
    code, _, errors = cli("signals", "inspect", "run/signals/dense/train")
    assert code == 8 and "has no signals that are finished" in errors
