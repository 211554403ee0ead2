"""Through the SDK's whole pipeline to a real HTTPS server, and back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from mwalimu.azure.cloud.backend import CloudClient, is_native, open_cloud
from mwalimu.azure.cloud.sdk import CloudError, quiet
from mwalimu.azure.cloud.states import ENDED, state_of
from mwalimu.azure.entities import ServerlessConnection
from mwalimu.errors import ConfigError
from mwalimu.jobs.states import State, azure_name
from tests.azure.cloud.answers import CONTAINER, WORKSPACE, FakeAzure, Reply
from tests.azure.cloud.cases import ENDPOINT, LLAMA, PHI, native_entity
from tests.azure.cloud.fake_azure import FakeCredential

KEY = "sk-the-key-of-the-teacher"


def test_a_native_job_arrives_as_a_fine_tuning_job(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    job = cloud.jobs.create_or_update(native_entity(workspace))
    assert (job.name, job.status, job.type) == ("tickets-1", "NotStarted", "distillation")
    assert job.studio_url == f"https://ml.azure.com/runs/tickets-1?wsid={WORKSPACE}"
    (put,) = azure.sent("PUT", "/jobs/tickets-1")
    assert put.query == {"api-version": ["2024-10-01-preview"]}
    body = put.json["properties"]
    details = body.pop("fineTuningDetails")
    training, validation = (details.pop(f"{split}Data") for split in ("training", "validation"))
    assert details == {
        "taskType": "ChatCompletion",
        "model": {"jobInputType": "mlflow_model", "uri": PHI},
        "modelProvider": "Custom",
        "hyperParameters": {"learning_rate": "2e-05", "num_train_epochs": "3"},
    }
    properties = body.pop("properties")
    information = json.loads(properties.pop("azureml.connection_information"))
    assert (information["name"], information["credentials"]) == ("teacher", {"type": "none"})
    assert properties == {
        "azureml.enable_distillation": "True",
        "azureml.data_generation_task_type": "NLI",
        "azureml.data_generation_type": "label_generation",
        "azureml.teacher_model.endpoint_name": "teacher",
        "azureml.teacher_model.temperature": "0.2",
        "azureml.teacher_model.max_tokens": "100",
        "azureml.teacher_model.top_p": "0.9",
        "azureml.request_batch_size": "5",
        "azureml.min_endpoint_success_ratio": "0.8",
        "azureml.enable_chain_of_thought": "True",
        "azureml.enable_chain_of_density": "False",
        "azureml.instance_type.data_generation": "Standard_D2_v2",
    }
    assert body == {
        "jobType": "FineTuning",
        "displayName": "Tickets",
        "description": "from the tests",
        "experimentName": "tickets",
        "tags": {"team": "support"},
        "isArchived": False,
        "outputs": {
            "registered_model": {
                "jobOutputType": "mlflow_model",
                "assetName": "Phi-3-5-mini-instruct-distilled",
            }
        },
    }
    for data, name in ((training, "train.jsonl"), (validation, "validation.jsonl")):
        place = data["uri"].partition("/paths/")[2]
        assert azure.blobs[place] == (workspace / name).read_bytes()


def test_the_same_file_is_sent_once(cloud: CloudClient, azure: FakeAzure, workspace: Path) -> None:
    cloud.jobs.create_or_update(native_entity(workspace))
    before = len(azure.sent("PUT", "/train.jsonl"))
    cloud.jobs.create_or_update(native_entity(workspace, name="tickets-2"))
    assert len(azure.sent("PUT", "/train.jsonl")) == before


def test_the_key_goes_to_the_connections_and_nowhere_else(
    cloud: CloudClient, azure: FakeAzure, workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    connection = ServerlessConnection(name="teacher", endpoint=ENDPOINT, api_key=KEY)
    job = cloud.jobs.create_or_update(
        native_entity(workspace, teacher_model_endpoint_connection=connection)
    )
    holders = [e for e in azure.exchanges if KEY.encode() in e.raw]
    assert [(e.method, e.path.removeprefix(WORKSPACE)) for e in holders] == [
        ("PUT", "/connections/teacher")
    ]
    assert holders[0].json["properties"]["credentials"] == {"key": KEY}
    assert KEY not in repr(job) + repr(cloud.jobs.get("tickets-1"))
    assert KEY not in caplog.text


def test_of_a_job_that_the_sdk_submitted_the_key_is_not_shown(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    cloud.jobs.create_or_update(native_entity(workspace))
    bag = azure.jobs["tickets-1"]["properties"]
    connection = {"type": "serverless", "name": "t", "endpoint": ENDPOINT, "api_key": KEY}
    bag["azureml.connection_information"] = json.dumps(connection)
    assert KEY not in repr(cloud.jobs.get("tickets-1"))
    assert KEY not in repr(list(cloud.jobs.list()))


def test_what_azure_would_refuse_sends_nothing(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    with pytest.raises(ConfigError, match="validation_data: is missing"):
        cloud.jobs.create_or_update(native_entity(workspace, validation_data=None))
    azure.location = "swedencentral"
    fresh = open_cloud(path=workspace, credential=FakeCredential())
    with pytest.raises(ConfigError, match=r"workspace: is in swedencentral.*eastus2 only"):
        fresh.jobs.create_or_update(native_entity(workspace))
    assert {e.method for e in azure.exchanges} == {"GET"}


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_request_is_sent_again(
    cloud: CloudClient, azure: FakeAzure, workspace: Path, status: int
) -> None:
    busy = Reply(status, {"error": {"code": "Busy", "message": "later"}}, {"Retry-After": "0"})
    azure.faults = [("/jobs/tickets-1", busy)] * 2
    assert cloud.jobs.create_or_update(native_entity(workspace)).status == "NotStarted"
    sent = azure.sent("PUT", "/jobs/tickets-1")
    assert [e.status for e in sent] == [status, status, 201]
    assert len({e.body for e in sent}) == 1


def refusal(code: str, message: str) -> Any:
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(400, refusal("BadRequest", "no such vm")), "Azure answered 400 (BadRequest: no"),
        (Reply(401, refusal("Expired", "token")), "Azure does not know who asks"),
        (Reply(403, refusal("AuthorizationFailed", "no role")), "is not allowed"),
        (Reply(404, refusal("ResourceNotFound", "gone")), "Azure has no such thing"),
        (Reply(409, refusal("Conflict", "exists")), "Azure answered 409 (Conflict: exists)"),
        (Reply(500, refusal("Broken", "two\nlines \x1b[31m")), "Azure answered 500 (Broken: two l"),
        (Reply(200, "<html>a proxy's page"), "Azure's answer cannot be read"),
    ],
)
def test_azure_s_errors_are_one_line_of_ours(
    cloud: CloudClient,
    azure: FakeAzure,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    said: str,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the SDK's tries
    cloud.jobs.create_or_update(native_entity(workspace))
    azure.faults = [("/jobs/tickets-1", reply)] * 20
    with pytest.raises(CloudError) as raised:
        cloud.jobs.get("tickets-1")
    text = str(raised.value)
    assert text.startswith(f"job tickets-1: {said}"), text
    assert text.isprintable()


def test_azure_out_of_reach(
    cloud: CloudClient, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(CloudError, match=r"job x: Azure cannot be reached .* try again later"):
        cloud.jobs.get("x")


def test_every_state_of_the_sdk_is_mapped_both_ways(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus
    from azure.ai.ml.operations._run_history_constants import RunHistoryConstants

    cloud.jobs.create_or_update(native_entity(workspace))
    theirs = [state.value for state in JobStatus]
    for status in theirs:
        azure.status["tickets-1"] = [status]
        assert cloud.jobs.get("tickets-1").status == status
        assert isinstance(state_of(status), State)
    assert len(theirs) == 14
    assert {azure_name(state) for state in State} <= set(theirs)
    assert all(state_of(azure_name(state)) in (state, State.RUNNING) for state in State)
    assert set(RunHistoryConstants.TERMINAL_STATUSES) == ENDED
    with pytest.raises(ValueError, match="Sleeping"):
        state_of("Sleeping")


def test_list_and_cancel(cloud: CloudClient, azure: FakeAzure, workspace: Path) -> None:
    for name in ("tickets-1", "tickets-2"):
        cloud.jobs.create_or_update(native_entity(workspace, name=name))
    assert [job.name for job in cloud.jobs.list()] == ["tickets-1", "tickets-2"]
    assert cloud.jobs.cancel("tickets-1").status == "CancelRequested"
    assert cloud.jobs.get("tickets-1").status == "Canceled"
    with pytest.raises(CloudError, match="job none: Azure has no such thing"):
        cloud.jobs.cancel("none")


def test_a_listing_that_is_left_early_leaves_the_warnings_as_they_were(
    cloud: CloudClient, azure: FakeAzure, workspace: Path
) -> None:
    for name in ("tickets-1", "tickets-2"):
        cloud.jobs.create_or_update(native_entity(workspace, name=name))
    before = list(warnings.filters)
    listing = cloud.jobs.list()
    assert next(listing).name == "tickets-1"
    assert warnings.filters == before
    azure.faults = [("/jobs", Reply(403, refusal("AuthorizationFailed", "no role")))]
    with pytest.raises(CloudError, match="the list of jobs: is not allowed"):
        next(cloud.jobs.list())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK waits two seconds between its looks."""
    with quiet():
        from azure.ai.ml.operations._run_history_constants import RunHistoryConstants
    monkeypatch.setattr(RunHistoryConstants, "_WAIT_COMPLETION_POLLING_INTERVAL_MIN", 0)
    monkeypatch.setattr(RunHistoryConstants, "_WAIT_COMPLETION_POLLING_INTERVAL_MAX", 0)


@pytest.mark.usefixtures("quick")
def test_the_log_is_shown_until_the_end(
    cloud: CloudClient, azure: FakeAzure, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.jobs.create_or_update(native_entity(workspace))
    azure.logs["user_logs/std_log.txt"] = "step 1\nstep 2\n"
    azure.status["tickets-1"] = ["Running", "Running", "Running", "Completed"]
    cloud.jobs.stream("tickets-1")
    assert "step 1\nstep 2" in capsys.readouterr().out
    azure.status["tickets-1"] = ["Running", "Running", "Failed"]
    with pytest.raises(CloudError, match=r"job tickets-1: the job has failed .*out of memory"):
        cloud.jobs.stream("tickets-1")


def test_nothing_but_azure_was_asked(cloud: CloudClient, azure: FakeAzure, workspace: Path) -> None:
    """No telemetry, no check for updates: every name resolves to the fake, which kept them."""
    cloud.jobs.create_or_update(native_entity(workspace))
    list(cloud.jobs.list())
    assert {e.host for e in azure.exchanges} == {
        "management.azure.com",
        "storage1.blob.core.windows.net",
    }
    assert all(e.path.startswith((WORKSPACE, f"/{CONTAINER}/")) for e in azure.exchanges)


@pytest.mark.parametrize(
    ("changes", "native"),
    [
        ({}, True),
        ({"student_model": LLAMA}, True),
        ({"student_model": "phi-3.5-mini"}, True),  # and then told to name the version
        ({"teacher_model": "llama-3.1-405b"}, True),
        ({"teacher_model": "gpt-4o"}, False),
        ({"student_model": "phi-4-mini"}, False),
        ({"data_generation_type": "data_generation"}, False),
        ({"teacher_model_endpoint_connection": None}, False),
    ],
)
def test_which_way_a_job_goes(tmp_path: Path, changes: dict[str, Any], native: bool) -> None:
    assert is_native(native_entity(tmp_path, **changes)) is native


def test_the_workspace_s_file_is_looked_for_upwards(azure: FakeAzure, workspace: Path) -> None:
    below = workspace / "a" / "b"
    below.mkdir(parents=True)
    assert open_cloud(path=below, credential=FakeCredential()).workspace == "ws-1"
    assert azure.exchanges == []


def test_without_a_workspace_s_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: .*could not find config\.json"):
        open_cloud(path=tmp_path, credential=FakeCredential())
    with pytest.raises(ConfigError, match="computer"):
        open_cloud(path=tmp_path, credential=FakeCredential(), computer="gpu")
