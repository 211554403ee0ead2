"""Whole jobs: submitted through the SDK, run by a real shell, measured, taken up again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from mwalimu.azure.cloud.backend import CloudClient, open_cloud
from mwalimu.azure.cloud.sdk import CloudError
from mwalimu.azure.entities import DistillationJob
from mwalimu.errors import ConfigError
from tests.azure.cloud.answers import FakeAzure
from tests.azure.cloud.cases import native_entity
from tests.azure.cloud.fake_azure import FakeCredential
from tests.azure.cloud.fake_compute import FakeCompute
from tests.tiny import make_tiny_model

RUN = "mwalimu/tiny-1/run"


@pytest.fixture
def cloud(azure: FakeAzure, workspace: Path) -> CloudClient:
    opened = open_cloud(path=workspace, credential=FakeCredential(), compute="cpu-cluster")
    opened.models.poll_s = 0.01
    return opened


@pytest.fixture
def compute(azure: FakeAzure, tmp_path_factory: pytest.TempPathFactory) -> FakeCompute:
    return FakeCompute(azure, tmp_path_factory.mktemp("compute"))


def tiny(folder: Path) -> DistillationJob:
    make_tiny_model(folder / "student")
    for name, count in (("train", 6), ("test", 4)):
        rows = [{"prompt": f"{name} {n}", "completion": f"answer {n}"} for n in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return DistillationJob(
        name="tiny-1",
        teacher_model="fake",
        student_model=str(folder / "student"),
        training_data="train.jsonl",
        test_data="test.jsonl",
        task_type="generic",
        hyperparameters={"learning_rate": 1e-3, "num_epochs": 1, "batch_size": 2},
    )


@pytest.mark.slow
def test_a_job_from_its_submission_to_its_model_s_metrics(
    cloud: CloudClient, azure: FakeAzure, compute: FakeCompute, workspace: Path
) -> None:
    cloud.jobs.create_or_update(tiny(workspace))
    with pytest.raises(CloudError, match="model student-distilled: Azure has no such thing"):
        cloud.models.get("student-distilled")
    said = compute.execute("tiny-1")
    assert cloud.jobs.get("tiny-1").status == "Completed", said
    model = cloud.models.get("student-distilled")
    assert (model.version, model.job_name) == ("1", "tiny-1")
    assert [one.name for one in cloud.models.list()] == ["student-distilled"]
    scores = json.loads(azure.blobs[f"{RUN}/evaluate/scores.json"])["arms"][-1]
    measured = cloud.models.evaluate("student-distilled")
    assert measured["accuracy"] == scores["accuracy"]["mean"]
    assert measured["bleu_score"] == scores["bleu"]
    assert measured["inference_time"] == scores["latency_p50_s"]
    assert measured["rows"] == 4
    folder = cloud.models.download("student-distilled", download_path=workspace / "models")
    weights = folder.rglob("model.safetensors")
    trained = azure.blobs[f"{RUN}/finetune/student/model.safetensors"]
    assert [file.read_bytes() for file in weights] == [trained]

    run = cloud.jobs.download("tiny-1", download_path=workspace / "runs")
    assert json.loads((run / "evaluate" / "scores.json").read_bytes())["arms"][-1] == scores

    # Other rows are asked by a job, which the compute finds by itself.
    worker = threading.Thread(target=compute.serve, daemon=True)
    worker.start()
    same = cloud.models.evaluate("student-distilled", "test.jsonl", ["accuracy", "rows"])
    known = cloud.models.evaluate("student-distilled", metrics=["accuracy", "rows"])
    assert same == known
    (name,) = [name for name in azure.jobs if name != "tiny-1"]
    assert " generic " in azure.jobs[name]["command"]
    with pytest.raises(ConfigError, match="'speed' is no metric"):
        cloud.models.evaluate("student-distilled", metrics=["speed"])
    with pytest.raises(ConfigError, match="no such file"):
        cloud.models.evaluate("student-distilled", "none.jsonl")


@pytest.mark.slow
def test_a_killed_job_is_taken_up_where_it_was(
    cloud: CloudClient, azure: FakeAzure, compute: FakeCompute, workspace: Path
) -> None:
    cloud.jobs.create_or_update(tiny(workspace))
    process, places = compute.start("tiny-1")
    answers = places["outputs.work"] / "run" / "generate" / "train.jsonl"
    while not answers.exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    compute.finish("tiny-1", places, process.returncode)
    compute.forget("tiny-1")
    assert cloud.jobs.get("tiny-1").status == "Failed"
    bought = azure.blobs["mwalimu/tiny-1/.mwalimu/answers/segment-000001.log"]
    resumed = cloud.jobs.resume("tiny-1")
    assert resumed.name is not None
    said = compute.execute(resumed.name)
    assert cloud.jobs.get(resumed.name).status == "Completed", said
    after = azure.blobs["mwalimu/tiny-1/.mwalimu/answers/segment-000001.log"]
    assert after.startswith(bought)
    assert b"train" not in after[len(bought) :]  # only the test rows were asked since
    assert cloud.models.get("student-distilled").job_name == resumed.name


def test_what_nothing_of_ours_has_made(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    cloud.jobs.create_or_update(native_entity(workspace))
    azure.assets["models/theirs/versions/1"] = {
        "modelType": "mlflow_model",
        "flavors": {},
        "jobName": "tickets-1",
        "modelUri": "azureml://datastores/d/paths/x",
    }
    with pytest.raises(ConfigError, match="model theirs: has no run folder"):
        cloud.models.evaluate("theirs")
    with pytest.raises(ConfigError, match="model theirs: is of type mlflow_model"):
        cloud.models.evaluate("theirs", str(workspace / "train.jsonl"))
    azure.assets["models/theirs/versions/1"]["modelType"] = "custom_model"
    with pytest.raises(ConfigError, match="is no task"):
        cloud.models.evaluate("theirs", str(workspace / "train.jsonl"), task="$(id)")
