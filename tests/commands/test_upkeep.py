"""The commands as a user has them: exit codes and lines."""

from pathlib import Path

from tests.command import mwalimu
from tests.upkeep.made import run_folder, store


def test_a_run_is_looked_at_damaged_told_and_copied(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    store(tmp_path / ".mwalimu" / "answers", 3, run.id)
    assert mwalimu("status", "run", cwd=tmp_path).returncode == 0
    whole = mwalimu("runs", "verify", "run", cwd=tmp_path)
    assert whole.returncode == 0 and "3 answers whole" in whole.stdout
    copied = mwalimu("runs", "backup", "run", "copy", cwd=tmp_path)
    assert copied.returncode == 0 and (tmp_path / "copy/answers/segment-000001.log").exists()
    run.path("curate", "train.jsonl").write_bytes(b"changed")
    damaged = mwalimu("runs", "verify", "run", cwd=tmp_path)
    assert damaged.returncode == 8
    assert damaged.stderr.strip() == (
        "error: run: 1 of 3 are not whole; what to do stands behind each"
    )
    assert mwalimu("runs", "verify", "copy/run", cwd=tmp_path).returncode == 0


def test_leftovers_and_an_index_are_mended(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    (tmp_path / "run" / "generate" / ".x.tmp").touch()
    store(tmp_path / "answers", 3)
    said = mwalimu("runs", "repair", "run", "--answers", "answers", cwd=tmp_path)
    assert said.stdout.splitlines() == ["removed run/generate/.x.tmp", "3 answers indexed"]
    assert mwalimu("runs", "repair", cwd=tmp_path).returncode == 2
    assert mwalimu("runs", "gc", "run", cwd=tmp_path).stdout == "0 bytes\n"
