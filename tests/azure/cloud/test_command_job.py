"""Command jobs: what is sent, and what a real shell makes of the command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu.azure.cloud.backend import CloudClient, open_cloud
from mwalimu.azure.cloud.command_job import command_line
from mwalimu.azure.cloud.sdk import CloudError, quiet
from mwalimu.azure.entities import DistillationJob, Output
from mwalimu.config import load_config
from mwalimu.errors import ConfigError
from tests.azure.cloud.answers import WORKSPACE, FakeAzure
from tests.azure.cloud.cases import native_entity, write_rows
from tests.azure.cloud.fake_azure import FakeCredential

KEY = "sk-the-key-of-the-teacher"
WORK = "azureml://datastores/workspaceblobstore/paths/mwalimu"


def tutorial(folder: Path, **changes: Any) -> DistillationJob:
    """The sample of the tutorial, with a teacher that Azure's distillation does not take."""
    fields: dict[str, Any] = {
        "name": "tickets-1",
        "experiment_name": "tickets",
        "teacher_model": "gpt-4o",
        "student_model": "phi-4-mini",
        "training_data": str(write_rows(folder / "train.jsonl", 3)),
        "test_data": str(write_rows(folder / "test data; $(x).jsonl", 3)),
        "task_type": "conversation",
        "hyperparameters": {"learning_rate": 2e-5, "num_epochs": 3, "temperature": 0.7},
        "tags": {"team": "support"},
    }
    return DistillationJob(**{**fields, **changes})


@pytest.fixture
def cloud(azure: FakeAzure, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> CloudClient:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return open_cloud(
        path=workspace,
        credential=FakeCredential(),
        compute="gpu-cluster",
        keys={"OPENAI_API_KEY": "openai"},
    )


def test_the_body_of_a_command_job(cloud: CloudClient, azure: FakeAzure, workspace: Path) -> None:
    job = cloud.jobs.create_or_update(tutorial(workspace))
    assert (job.name, job.status, job.teacher_model) == ("tickets-1", "NotStarted", "gpt-4o")
    (put,) = azure.sent("PUT", "/jobs/tickets-1")
    body = put.json["properties"]
    given = body.pop("inputs")["job"]
    environment = body.pop("environmentId")
    assert body == {
        "jobType": "Command",
        "experimentName": "tickets",
        "displayName": "tickets-1",
        "tags": {
            "team": "support",
            "mwalimu.run": "tickets-1",
            "mwalimu.registers": "phi-4-mini-distilled",
            "mwalimu.task": "conversation",
        },
        "properties": {},
        "command": command_line({"OPENAI_API_KEY": "openai"}),
        "computeId": f"{WORKSPACE}/computes/gpu-cluster",
        "environmentVariables": {"PYTHONUNBUFFERED": "1"},
        "identity": {"identityType": "Managed"},
        "isArchived": False,
        "outputs": {
            "work": {
                "jobOutputType": "uri_folder",
                "mode": "ReadWriteMount",
                "uri": f"{WORK}/tickets-1/",
            },
            "student": {
                "jobOutputType": "custom_model",
                "mode": "ReadWriteMount",
                "assetName": "phi-4-mini-distilled",
            },
        },
        **_ignored(body),
    }
    assert (given["jobInputType"], given["mode"]) == ("uri_folder", "ReadOnlyMount")
    made = azure.assets[environment.removeprefix(f"{WORKSPACE}/")]
    assert made["image"].startswith("mcr.microsoft.com/azureml/")
    packages = yaml.safe_load(made["condaFile"])["dependencies"]
    assert packages[-1] == {"pip": ["mwalimu[azure,eval]==0.1.0"]}


def _ignored(body: dict[str, Any]) -> dict[str, Any]:
    """What the SDK adds of its own accord, empty or not."""
    return {k: body[k] for k in ("distribution", "resources", "queueSettings") if k in body}


def test_what_arrives_is_the_job(
    cloud: CloudClient, azure: FakeAzure, workspace: Path, tmp_path: Path
) -> None:
    cloud.jobs.create_or_update(tutorial(workspace))
    address = azure.jobs["tickets-1"]["inputs"]["job"]["uri"]
    start = address.partition("/paths/")[2]
    for name, data in azure.blobs.items():
        if name.startswith(start):
            file = tmp_path / "compute" / name.removeprefix(start).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    there = load_config(tmp_path / "compute" / "distill.yaml")
    assert there.task == "conversation"
    assert (there.teacher.model, there.teacher.temperature) == ("gpt-4o", 0.7)
    assert there.student.model == "microsoft/Phi-4-mini-instruct"
    assert (there.finetune.learning_rate, there.finetune.epochs) == (2e-5, 3)
    assert there.data.train is not None
    assert there.data.test is not None
    assert there.data.train.read_bytes() == (workspace / "train.jsonl").read_bytes()
    assert there.data.test.is_file()


def test_no_key_leaves_the_machine(cloud: CloudClient, azure: FakeAzure, workspace: Path) -> None:
    cloud.jobs.create_or_update(tutorial(workspace))
    assert [e for e in azure.exchanges if KEY.encode() in e.raw] == []


def test_the_sdk_reads_what_it_sent(cloud: CloudClient, azure: FakeAzure, workspace: Path) -> None:
    cloud.jobs.create_or_update(tutorial(workspace))
    azure.status["tickets-1"] = ["Running"]
    job = cloud.jobs.get("tickets-1")
    assert (job.type, job.status, job.tags["mwalimu.run"]) == ("command", "Running", "tickets-1")


def test_resuming_is_a_new_job_in_the_same_run_folder(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    cloud.jobs.create_or_update(tutorial(workspace))
    azure.status["tickets-1"] = ["Failed"]
    job = cloud.jobs.resume("tickets-1")
    assert job.name is not None
    assert job.name != "tickets-1"
    before, after = azure.jobs["tickets-1"], azure.jobs[job.name]
    assert after == before
    assert after["outputs"]["work"]["uri"] == f"{WORK}/tickets-1/"


def test_an_evaluation_waits_for_the_job_that_makes_the_model(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    cloud.models.poll_s = 0.0
    cloud.jobs.create_or_update(tutorial(workspace))
    azure.status["tickets-1"] = ["Queued", "Running", "Running", "Failed"]
    with pytest.raises(CloudError, match="job tickets-1: is Failed; read its log"):
        cloud.models.evaluate("phi-4-mini-distilled")
    assert len(azure.sent("GET", "/jobs/tickets-1")) == 3
    with pytest.raises(CloudError, match="model another: Azure has no such thing"):
        cloud.models.evaluate("another")


@pytest.mark.parametrize("name", ["../x", "a/b", ".."])
def test_nothing_is_downloaded_outside_the_folder(
    cloud: CloudClient, azure: FakeAzure, name: str
) -> None:
    for download in (cloud.jobs.download, cloud.models.download):
        with pytest.raises(ConfigError, match="is no name"):
            download(name)
    assert azure.exchanges == []


def test_a_native_job_cannot_be_resumed(cloud: CloudClient, workspace: Path) -> None:
    cloud.jobs.create_or_update(native_entity(workspace))
    with pytest.raises(ConfigError, match="job tickets-1: has no run folder"):
        cloud.jobs.resume("tickets-1")


@pytest.mark.parametrize(
    ("settings", "changes", "said"),
    [
        ({"compute": None}, {}, "no compute is named"),
        ({"keys": {}}, {}, r"teacher\.api_key_env: OPENAI_API_KEY would not be there"),
        ({"keys": {"OPENAI_API_KEY": "a b; rm -rf /"}}, {}, "no variable and connection"),
        ({"keys": {"x=$(id)": "openai"}}, {}, "no variable and connection"),
        ({"compute": "gpu; id"}, {}, "compute: 'gpu; id' is no name"),
        ({"datastore": "../x"}, {}, "datastore: '../x' is no name"),
        ({"package": "none-1.0-py3-none-any.whl"}, {}, "no such wheel"),
        ({}, {"name": "../../x"}, "is no name"),
        ({}, {"outputs": {"registered_model": Output(name="a.b")}}, "alphanumeric"),
        ({}, {"training_data": "azureml:tickets:1"}, "is not here"),
        ({}, {"training_data": "none.jsonl"}, "no such file"),
        ({}, {"task_type": "poetry"}, "'poetry' is unknown"),
    ],
)
def test_what_cannot_run_sends_no_job(
    azure: FakeAzure,
    workspace: Path,
    settings: dict[str, Any],
    changes: dict[str, Any],
    said: str,
) -> None:
    chosen = {"compute": "gpu-cluster", "keys": {"OPENAI_API_KEY": "openai"}, **settings}
    cloud = open_cloud(path=workspace, credential=FakeCredential(), **chosen)
    with pytest.raises(ConfigError, match=said):
        cloud.jobs.create_or_update(tutorial(workspace, **changes))
    assert azure.jobs == {}


def test_a_wheel_is_built_into_the_image(azure: FakeAzure, workspace: Path) -> None:
    wheel = workspace / "mwalimu-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    cloud = open_cloud(
        path=workspace,
        credential=FakeCredential(),
        instance_type="Standard_NC24ads_A100_v4",
        package=str(wheel),
    )
    cloud.jobs.create_or_update(tutorial(workspace, teacher_model="fake"))
    body = azure.jobs["tickets-1"]
    assert body["resources"]["instanceType"] == "Standard_NC24ads_A100_v4"
    assert "computeId" not in body
    assert "identity" not in body
    made = azure.assets[body["environmentId"].removeprefix(f"{WORKSPACE}/")]
    assert made["build"]["dockerfilePath"] == "Dockerfile"
    sent = {name.rpartition("/")[2]: data for name, data in azure.blobs.items()}
    assert sent[wheel.name] == b"a wheel"
    assert (
        sent["Dockerfile"]
        .splitlines()[-1]
        .endswith(
            b"pip install --no-cache-dir '/wheels/mwalimu-0.1.0-py3-none-any.whl[azure,eval]'"
        )
    )


def test_an_environment_of_the_workspace(azure: FakeAzure, workspace: Path) -> None:
    cloud = open_cloud(
        path=workspace, credential=FakeCredential(), compute="cpu", environment="azureml:ours:7"
    )
    cloud.jobs.create_or_update(tutorial(workspace, teacher_model="fake"))
    body = azure.jobs["tickets-1"]
    assert body["environmentId"] == f"{WORKSPACE}/environments/ours/versions/7"
    assert list(azure.assets) == []


@pytest.mark.parametrize("code", [0, 12])
@pytest.mark.parametrize("keys", [{}, {"OPENAI_API_KEY": "openai"}])
def test_a_real_shell_runs_the_command(tmp_path: Path, code: int, keys: dict[str, str]) -> None:
    """With a program called mwalimu, and one called python, that write down how they are called."""
    places = {
        "inputs.job": tmp_path / "in put's $(id)",
        "outputs.work": tmp_path / "work; id",
        "outputs.student": tmp_path / 'student" folder',
    }
    line = command_line(keys)
    for name, place in places.items():
        if '"' not in str(place):  # Azure's own places have none; ours are in double quotes
            place.mkdir()
            line = line.replace(f"${{{{{name}}}}}", str(place).replace("$", r"\$"))
    student = tmp_path / "student"
    student.mkdir()
    line = line.replace("${{outputs.student}}", str(student))
    called = tmp_path / "called.json"
    program = (
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(called)!r}, 'w').write(json.dumps([os.getcwd(), sys.argv]))\n"
        "os.makedirs('run/finetune/student')\n"
        "open('run/finetune/student/w', 'w').write('weights')\n"
        f"sys.exit({code})\n"
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("mwalimu", "python"):
        (programs / name).write_text(program)
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["/bin/bash", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert ended.returncode == code
    folder, arguments = json.loads(called.read_text())
    assert folder == str(places["outputs.work"])
    assert arguments[1:] == [
        *(
            ["-m", "mwalimu.azure.cloud.with_keys", "OPENAI_API_KEY=openai", "--", "mwalimu"]
            if keys
            else []
        ),
        "run",
        f"{places['inputs.job']}/distill.yaml",
        "--run",
        "run",
    ]
    assert [p.read_text() for p in student.iterdir()] == (["weights"] if code == 0 else [])


def test_the_command_holds_nothing_of_a_user_s() -> None:
    assert shlex.split(command_line({}))[:3] == ["cd", "${{outputs.work}}", "&&"]
    with quiet():
        assert "{" not in command_line({}).replace("${{", "").replace("}}", "")
