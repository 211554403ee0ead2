"""The tutorial's sample, line for line but for its two imports: a real distillation on this
machine, by a service that is started on demand, ends with an improvement that is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwalimu.jobs.hosting.local import find
from mwalimu.jobs.workspace import Workspace
from tests.azure import tutorial_world as world

# microsoft/edgeai-for-beginners, Module05/02.SLMOps-Distillation.md.
SAMPLE = """\
from mwalimu.azure import MLClient
from mwalimu.azure.entities import DistillationJob

# Initialize Azure ML client
ml_client = MLClient.from_config()

# Define distillation job with DeepSeek V3 as teacher and Phi-4-mini as student
distillation_job = DistillationJob(
    teacher_model="deepseek-v3",  # Large-scale teacher model (671B parameters)
    student_model="phi-4-mini",   # Efficient student model
    training_data="./training_data.jsonl",
    validation_data="./validation_data.jsonl",
    task_type="conversation",
    hyperparameters={
        "learning_rate": 2e-5,    # Lower learning rate for fine-tuning
        "batch_size": 2,          # Smaller batch size for memory efficiency
        "num_epochs": 3,
        "temperature": 0.7        # Teacher output softness
    }
)

# Submit distillation job
job = ml_client.jobs.create_or_update(distillation_job)

# Monitor training progress
job_status = ml_client.jobs.get(job.name)
print(f"Job status: {job_status.status}")

# Evaluate distilled Phi-4-mini model
evaluation_results = ml_client.models.evaluate(
    model_name="phi-4-mini-distilled",
    test_data="./test_data.jsonl",
    metrics=["accuracy", "bleu_score", "inference_time"]
)

# Compare with original Phi-4-mini baseline
baseline_results = ml_client.models.evaluate(
    model_name="phi-4-mini-baseline",
    test_data="./test_data.jsonl"
)

print(f"Distilled model accuracy: {evaluation_results['accuracy']}")
print(f"Baseline model accuracy: {baseline_results['accuracy']}")
print(f"Performance improvement: {evaluation_results['accuracy'] - baseline_results['accuracy']}")
"""

IMPORTS = {
    "from mwalimu.azure import MLClient": "from azure.ai.ml import MLClient",
    "from mwalimu.azure.entities import DistillationJob": (
        "from azure.ai.ml.entities import DistillationJob"
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A folder as the tutorial's reader has it, and the end of the service that starts there."""
    rows = world.conversations("train", 40)
    world.write_rows(tmp_path / "training_data.jsonl", rows)
    world.write_rows(tmp_path / "validation_data.jsonl", world.conversations("validation", 6))
    world.write_rows(tmp_path / "test_data.jsonl", world.conversations("test", 40))
    student = world.make_student(tmp_path / ".mwalimu" / "students" / "tiny", rows)
    with world.Teacher() as teacher:
        world.write_registry(tmp_path / ".mwalimu", teacher_url=teacher.url, student=student)
        yield tmp_path
        end_service(tmp_path)


def end_service(folder: Path) -> None:
    workspace = Workspace(folder / ".mwalimu" / "service")
    if not workspace.service.exists():
        return
    os.kill(json.loads(workspace.service.read_text())["pid"], signal.SIGTERM)
    until = time.monotonic() + 30
    while find(workspace) and time.monotonic() < until:
        time.sleep(0.05)


def test_only_the_imports_differ() -> None:
    """So that a reader can hold this sample against the tutorial's."""
    lines = SAMPLE.splitlines()
    assert lines[:2] == list(IMPORTS)
    assert not any("mwalimu" in line for line in lines[2:])


@pytest.mark.slow
def test_the_sample_ends_with_an_improvement(desk: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "MWALIMU" not in name}
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE],
        cwd=desk,
        env={**environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr + server_log(desk)
    said = dict(re.findall(r"^(.+): (.+)$", done.stdout, re.MULTILINE))
    assert said["Job status"] in ("Queued", "Starting", "Preparing", "Running")
    before, after = (float(said[f"{arm} model accuracy"]) for arm in ("Baseline", "Distilled"))
    assert float(said["Performance improvement"]) == after - before
    assert after - before > 0.2, done.stdout


def server_log(folder: Path) -> str:
    service = folder / ".mwalimu" / "service"
    logs = (*service.glob("server.log"), *service.glob("jobs/*/log.txt"))
    return "".join(path.read_text() for path in logs)
