"""The core installs without a network from the locked files, and works without one.

MWALIMU_LONG=1 only: it needs a wheelhouse of the lock, which is fetched, by hash, before the
network is cut; MWALIMU_WHEELHOUSE names one that is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.trust.sbom import packages

from tests.figures import record

ROOT = Path(__file__).parents[1]
CUT = ("unshare", "--map-root-user", "--net")
JOB = """
import socket, sys
from pathlib import Path
from mwalimu.quickstart.job import write_job
try:
    socket.create_connection(("198.51.100.1", 80), timeout=2)
    sys.exit("there is a network")
except OSError:
    write_job(Path("."), rows={"train": 6, "validation": 4, "test": 4, "labelled": 4})
"""

pytestmark = pytest.mark.skipif(
    not os.environ.get("MWALIMU_LONG"), reason="the long form: it fetches a wheelhouse"
)


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (command, done.stdout[-1500:], done.stderr[-1500:])
    return done.stdout


def core_lock() -> tuple[str, str]:
    """The lock's lines of the core, with their hashes; and torch's, which has none."""
    core = {one.name for one in packages() if one.core}
    kept, keep = [], False
    for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            keep = line.partition("==")[0].partition("[")[0].lower() in core
        if keep and not line.startswith("    #"):
            kept.append(line)
    return "\n".join(kept) + "\n", (ROOT / "requirements" / "torch-cpu.txt").read_text()


def wheelhouse(folder: Path) -> Path:
    """Every file by hash, but torch's; beside them our own wheel, built here."""
    kept = Path(os.environ.get("MWALIMU_WHEELHOUSE") or folder / "wheelhouse")
    lock, torch = core_lock()
    (folder / "core.txt").write_text(lock)
    (folder / "torch.txt").write_text(torch)
    download = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", kept)
    if not any(kept.glob("torch-*")):
        run(*download, "-r", folder / "torch.txt")
    run(*download, "--require-hashes", "--find-links", kept, "-r", folder / "core.txt")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "ours")
    return kept


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="nothing here cuts the network")
def test_it_installs_and_answers_without_a_network(tmp_path: Path) -> None:
    kept = wheelhouse(tmp_path)
    python, place = tmp_path / "venv" / "bin" / "python", tmp_path / "job"
    place.mkdir()
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    install = (*CUT, python, "-m", "pip", "install", "-q", "--no-index", "--find-links", kept)
    run(*install, "--no-deps", "-r", tmp_path / "torch.txt", env=bare)
    run(*install, "--no-deps", "--require-hashes", "-r", tmp_path / "core.txt", env=bare)
    run(*install, *(tmp_path / "ours").glob("*.whl"), env=bare)  # with all that it needs
    run(*CUT, python, "-m", "pip", "check", env=bare)
    run(*CUT, python, "-c", JOB, cwd=place, env=bare)
    mwalimu = python.with_name("mwalimu")
    said = run(*CUT, mwalimu, "generate", "distill.yaml", "--run", "run", cwd=place, env=bare)
    rows = (place / "run" / "generate" / "train.jsonl").read_bytes().splitlines()
    assert rows, said
    count = len(list(kept.glob("*")))
    record("R24", "installed and run without a network", tried=count, note="files; stage 1 done")
