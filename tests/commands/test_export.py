"""`mwalimu export` as a user has it: a process with its exit code and its streams."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu.commands import export as export_commands
from mwalimu.commands.export import _limits, _seconds, _targets
from mwalimu.errors import ConfigError
from mwalimu.export.package import ADDED
from mwalimu.run import Run
from mwalimu.runtimes.manifest import MANIFEST
from tests.command import mwalimu, start
from tests.shipping.runs import make_run


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("job")
    make_run(root)
    return root


@pytest.mark.slow
def test_an_export_a_gate_that_it_misses_and_a_damage(job: Path) -> None:
    gate = ("--set", "export.require.size_mib=0.001")
    done = mwalimu("export", "run", "--to", "safetensors", "--precision", "fp16", cwd=job)
    assert done.returncode == 0, done.stderr
    assert "pick: safetensors-fp16" in done.stdout
    run = Run(job / "run")
    assert [one["name"] for one in run.require("export").summary["exports"]] == [
        "safetensors-fp32",
        "safetensors-fp16",
    ]
    assert "## The exports" in (job / "run" / "report.md").read_text()

    folder = "run/export/safetensors-fp16"
    done = mwalimu("export", "--verify", folder, cwd=job)
    assert done.returncode == 0 and "files are as they were made" in done.stdout
    (job / folder / "model.safetensors").write_bytes(b"")
    done = mwalimu("export", "--verify", folder, cwd=job)
    assert done.returncode == 8 and "the first is model.safetensors" in done.stderr

    done = mwalimu("export", "run", *gate, cwd=job)
    assert done.returncode == 12, done.stderr
    assert "error: export.require: 2 of 2 exports miss the gate" in done.stderr
    assert "already made" in done.stderr and "no export fits" in done.stdout
    done = mwalimu("export", "--verify", folder, cwd=job)
    assert done.returncode == 0  # made again


@pytest.mark.slow
def test_an_explicit_target_that_fails_is_the_error_and_is_not_asked_for_again(job: Path) -> None:
    done = mwalimu("export", "run", "--to", "safetensors", "--precision", "int4", cwd=job)
    assert done.returncode == 2
    assert "error: export.targets: safetensors has no int4" in done.stderr
    config = yaml.safe_load((job / "run" / "config.yaml").read_text())
    names = [(one["to"], one["precision"]) for one in config["export"]["targets"]]
    assert ("safetensors", "int4") not in names and ("safetensors", "fp32") in names


def fixed(run: Path) -> dict[str, bytes]:
    """Of what a run published, all that no clock has a part in."""
    root = run / "export"
    files = [path for path in root.rglob("*") if path.is_file()]
    timed = {*ADDED, MANIFEST, "answers.jsonl", "found.json", "stderr.txt", "job.json"}
    return {
        str(path.relative_to(root)): path.read_bytes() for path in files if path.name not in timed
    }


@pytest.mark.slow
def test_an_export_that_was_killed_twice_is_the_export(tmp_path: Path) -> None:
    """Once between two batches of answers, once while a model is built beside its place."""
    targets = [{"to": "safetensors", "precision": "fp16"}]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        make_run(tmp_path / name, tested=64, targets=targets)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert mwalimu("export", "run", cwd=whole).returncode == 0
    folder = killed / "run" / "export"
    moments = (folder / "trials" / "student" / "answers.jsonl", folder / ".safetensors-fp16.tmp")
    for moment in moments:
        life = start("export", "run", cwd=killed)
        while not moment.exists():
            assert life.lasts(0.001), f"it ended before {moment.name} was there"
        life.kill()
        assert not life.lasts(30)
    assert not (folder / "safetensors-fp16").exists()
    done = mwalimu("export", "run", cwd=killed)
    assert done.returncode == 0, done.stderr
    assert "measure student: 64/64 already done" in done.stderr
    assert fixed(killed / "run") == fixed(whole / "run")
    done = mwalimu("export", "--verify", "run/export/safetensors-fp16", cwd=killed)
    assert done.returncode == 0, done.stderr


def test_wrong_options_are_told_in_one_line(tmp_path: Path) -> None:
    for arguments, code, told in (
        ((), 2, "names no run folder"),
        (("nowhere",), 8, "nowhere: is no run folder"),
        (("nowhere", "--to", "tflite"), 2, "--to: 'tflite' should be 'safetensors', 'onnx'"),
        (("nowhere", "--max-size", "big"), 2, "'big' is no amount of memory"),
        (("nowhere", "--max-latency", "fast"), 2, "--max-latency: 'fast' is no time"),
        (("--verify", "nowhere"), 8, "is no whole export"),
    ):
        done = mwalimu("export", *arguments, cwd=tmp_path)
        assert done.returncode == code and told in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


def test_a_sweep_fails_only_where_nothing_was_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"kind": "ConfigError", "what": "has no int4", "where": "", "fix": ""}
    failed = [{"name": "safetensors-int4", "error": error, "why": "has no int4"}]
    summary: dict[str, Any] = {"exports": [], "failed": failed, "pick": {"why": "none"}}
    monkeypatch.setattr(export_commands, "_exported", lambda *_: summary)
    monkeypatch.setattr(export_commands, "show_exports", lambda _: None)
    with pytest.raises(ConfigError, match="has no int4"):
        export_commands.export(Path("run"), sweep=True)
    summary["exports"] = [{"name": "safetensors-fp32", "gate": {"passed": None}}]
    export_commands.export(Path("run"), sweep=True)
    with pytest.raises(ConfigError, match="has no int4"):
        export_commands.export(Path("run"), to="safetensors", precision="int4")


def test_an_option_that_contradicts_another_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match="--scheme: gguf's Q5_K_M is int8, not int4"):
        _targets("gguf", "int4", "Q5_K_M", sweep=False)
    (target,) = _targets("web", None, None, sweep=False)
    assert target.name == "web-int4"


def test_limits_of_the_pick_in_the_units_of_the_config() -> None:
    assert _limits("2GiB", "500ms") == ["export.max_size_mib=2048.0", "export.max_latency_s=0.5"]
    assert _limits(None, None) == []
    assert _seconds("2s") == 2 and _seconds("1.5 S") == 1.5
    with pytest.raises(ConfigError):
        _seconds("0ms")
