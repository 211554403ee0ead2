"""The tutorial's commands as they stand on the page, with fewer rows by its own variables."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.files import DOCS, ROOT, blocks

TUTORIAL = DOCS / "tutorial.md"
SWAHILI = DOCS / "sw" / "tutorial.md"
SMALL = {"ROWS": "64", "TEST": "12", "EPOCHS": "1"}


def test_the_swahili_page_has_the_same_commands() -> None:
    assert blocks(SWAHILI, "bash") == blocks(TUTORIAL, "bash")


def test_the_swahili_page_has_the_same_figures() -> None:
    """In the table of results only the words differ."""
    assert figures(TUTORIAL) and figures(SWAHILI) == figures(TUTORIAL)


def figures(page: Path) -> list[list[str]]:
    lines = page.read_text(encoding="utf-8").splitlines()
    tables = [line.split("|")[2:] for line in lines if line.startswith("|")]
    return [row for row in tables if re.search(r"\d+\.\d \[|\d\.\d+", row[0])]


def free_port() -> int:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return int(here.getsockname()[1])


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash, curl")
def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("fastapi")
    script = "set -eu -o pipefail\n" + "\n".join(blocks(TUTORIAL, "bash"))
    bin_folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        **SMALL,
        "PORT": str(free_port()),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=900)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said[-3000:]
    job = tmp_path / "my-job"
    assert "train.jsonl: 64 rows, no problem" in said
    assert "files are as they were made" in said
    assert (job / "runs" / "my-job" / "report.html").stat().st_size > 10_000
    scores = json.loads((job / "runs" / "my-job" / "evaluate" / "scores.json").read_text())
    assert [arm["name"] for arm in scores["arms"]] == [
        "teacher",
        "student-before",
        "student-labels",
        "student-distilled",
    ]
    answer = json.loads((job / "answer.json").read_text())
    assert answer["model"] == "desk" and answer["choices"][0]["message"]["role"] == "assistant"
