"""`mwalimu serve` as a command, with a teacher behind the student."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from typer.testing import CliRunner

from mwalimu.cli import app
from mwalimu.config import dump_config
from mwalimu.run import Run
from tests.serving.answers import job
from tests.serving.running import free_port
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model


@pytest.fixture
def served() -> Iterator[TeacherServer]:
    with TeacherServer() as server:
        yield server


def run_folder(folder: Path, url: str) -> Path:
    """A run with a student and a config that names the teacher; its stages are not whole."""
    run = Run(folder / "run")
    run.path("config.yaml").parent.mkdir(parents=True)
    run.path("config.yaml").write_text(dump_config(job(folder, model="tiny", base_url=url)))
    student = make_tiny_model(folder / "model", spread=0.3)
    shutil.copytree(student, run.path("finetune", "student"))
    files = [path for path in run.path("finetune", "student").iterdir() if path.is_file()]
    run.finish("finetune", "f", files, {})
    return run.root


@contextmanager
def serving(target: Path, *options: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mwalimu", "serve", str(target), "--port", str(port)]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("serving run at "), process.stderr.read()
        yield f"http://127.0.0.1:{port}/v1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_what_the_student_doubts_the_teacher_answers(tmp_path: Path, served: TeacherServer) -> None:
    target, traffic = run_folder(tmp_path, served.url), tmp_path / "traffic"
    options = ("--fallback", "teacher", "--below", "1", "--traffic", str(traffic))
    with serving(target, *options) as url, openai.OpenAI(base_url=url, api_key="x") as client:
        answers = [
            client.chat.completions.create(
                model="run", messages=[{"role": "user", "content": "hard"}], max_tokens=20
            )
            for _ in range(2)
        ]
    assert [answer.choices[0].message.content for answer in answers] == ["echo hard"] * 2
    assert {answer.model for answer in answers} == {"tiny"}
    assert served.asked == {"hard": 1}, "what was bought once is not bought again"
    lines = (traffic / "traffic-000001.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["messages"][0]["content"] for line in lines] == ["hard"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-usd", "5"], "belong to a teacher that is asked"),
        (["--keep", "0.1"], "belong to a teacher that is asked"),
        (["--fallback", "teacher", "--runtime", "vllm"], "has no --fallback"),
        (["--fallback", "teacher", "--below", "2"], "--below"),
        (["--fallback", "teacher", "--below", "0.5", "--keep", "0.1"], "--traffic"),
    ],
)
def test_what_contradicts_is_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    target = run_folder(tmp_path, "http://127.0.0.1:9/v1")
    result = CliRunner().invoke(app, ["serve", str(target), *options])
    assert result.exit_code != 0
    assert message in str(result.exception)
