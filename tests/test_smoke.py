"""The short forms of the benchmarks: none is forgotten, and one that fails is told."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import smoke

# Started by another script, or not to be started at all.
PARTS = {
    "smoke.py",
    "curation/ours.py",
    "curation/peer.py",
    "distill/prepare.py",
    "distill/worker.py",
    "finetune/memory_worker.py",
    "finetune/speed_worker.py",
    "generation/bare.py",
    "generation/server.py",
}


def starts(path: Path) -> bool:
    """Whether it does something when it is run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.If) and "__main__" in ast.dump(node.test) for node in tree.body)


def test_every_benchmark_has_a_short_form_or_a_reason() -> None:
    scripts = {
        str(path.relative_to(smoke.HERE))
        for path in smoke.HERE.rglob("*.py")
        if starts(path) and "peers" not in path.parts
    }
    listed = set(smoke.SMALL) | set(smoke.LEFT_OUT)
    assert not set(smoke.SMALL) & set(smoke.LEFT_OUT)
    assert listed <= {str(path.relative_to(smoke.HERE)) for path in smoke.HERE.rglob("*.py")}
    assert scripts - listed - PARTS == set()
    assert set(smoke.PACKAGES) <= set(smoke.SMALL)


def test_the_shortest_one_passes() -> None:
    done = subprocess.run(
        [sys.executable, smoke.HERE / "smoke.py", "--only", "curation/generated"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("passed   curation/generated.py")
    assert "1 passed" in done.stdout and "0 FAILED" in done.stdout


def test_one_that_fails_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(smoke.SMALL, "curation/generated.py", "--rows none")
    monkeypatch.setattr(sys, "argv", ["smoke.py", "--only", "curation/generated"])
    assert smoke.main() == 1
    said = capsys.readouterr().out
    assert "FAILED   curation/generated.py" in said and "invalid int value: 'none'" in said


def test_a_missing_package_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(smoke.PACKAGES, "evaluation/coverage.py", "no_such_package")
    assert smoke.run("evaluation/coverage.py").told == "needs the package no_such_package"


def test_a_machine_too_busy_for_ray_is_no_failure() -> None:
    says = f"raise Exception({smoke.BUSY + ' of some kind'!r})"
    assert smoke._ended("x", [sys.executable, "-c", says]).state == "skipped"
    assert smoke._ended("x", [sys.executable, "-c", "raise Exception"]).state == "FAILED"
