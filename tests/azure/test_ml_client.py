"""MLClient over the real service; jobs are moved on as a worker would."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwalimu.azure import MLClient
from mwalimu.azure.entities import DistillationJob, Input
from mwalimu.errors import ConfigError, TeacherError
from mwalimu.jobs.client import Client
from mwalimu.jobs.records import Lease, Role
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.states import State
from tests.jobs.service import Running, running

LIFE = (State.PREPARING, State.RUNNING, State.FINALIZING, State.COMPLETED)
FAILURE = {"what": "no answer", "where": "", "fix": "", "exit_code": 4}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "service") as found:
        yield found


@pytest.fixture
def ml_client(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MLClient]:
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]
    for name in ("training_data", "validation_data", "test_data"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MWALIMU_TOKEN", service.tokens[Role.SUBMITTER])
    monkeypatch.delenv("MWALIMU_URL", raising=False)
    (tmp_path / "mwalimu.json").write_text(json.dumps({"mwalimu_url": service.url}))
    found = MLClient.from_config()
    yield found
    found.close()


def a_job(**more: object) -> DistillationJob:
    return DistillationJob(
        teacher_model="fake",
        student_model="phi-4-mini",
        training_data="./training_data.jsonl",
        validation_data=Input(path="validation_data.jsonl"),
        task_type="conversation",
        **more,  # type: ignore[arg-type]
    )


def claimed(service: Running) -> Lease:
    lease = service.service.store.claim("cpu-0", "cpu")
    assert lease is not None
    return lease


def finish(service: Running, name: str, **found: object) -> None:
    lease = claimed(service)
    assert lease.job == name
    for state in LIFE[:-1]:
        service.service.store.advance(lease, state)
    service.service.store.advance(lease, State.COMPLETED, **found)


def test_a_job_by_azures_names(service: Running, ml_client: MLClient) -> None:
    job = ml_client.jobs.create_or_update(a_job(tags={"team": "returns"}, experiment_name="e"))
    assert isinstance(job, DistillationJob) and job.name and job.teacher_model == "fake"
    assert (job.status, job.experiment_name) == ("Queued", "e")
    assert job.studio_url and job.studio_url.startswith(service.url)
    assert job.properties["registered_ft_model_name"] == "phi-4-mini-distilled"
    lease = claimed(service)
    for state in (State.PREPARING, State.RUNNING):
        service.service.store.advance(lease, state)
        assert ml_client.jobs.get(job.name).status == state
    ml_client.jobs.pause(job.name)
    assert ml_client.jobs.get(job.name).status == "Running"  # Azure has no name for it
    service.service.store.advance(lease, State.PAUSED)
    assert ml_client.jobs.resume(job.name).status == "Queued"
    assert ml_client.jobs.begin_cancel(job.name).status == "Canceled"
    assert [(found.name, found.tags) for found in ml_client.jobs.list()] == [
        (job.name, {"team": "returns"})
    ]


def test_the_stream_shows_the_log_and_ends_as_the_job_ends(
    service: Running, ml_client: MLClient, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ml_client.jobs.create_or_update(a_job()).name
    assert name
    log = service.service.workspace.log(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("the teacher answers\n")
    service.service.store.advance(claimed(service), State.FAILED, error=FAILURE)
    with pytest.raises(TeacherError, match="no answer"):
        ml_client.jobs.stream(name)
    assert capsys.readouterr().out == "the teacher answers\n"
    assert "no answer" in str(ml_client.jobs.get(name).error)


def test_an_evaluation_waits_for_the_job_that_makes_the_model(
    service: Running, ml_client: MLClient
) -> None:
    job = ml_client.jobs.create_or_update(a_job())
    assert job.name
    store, models = service.service.store, service.service.models

    def work() -> None:
        time.sleep(0.3)
        for name in job.properties["registered_ft_model_name"], "phi-4-mini-baseline":
            folder = service.service.workspace.root / "models" / name
            folder.mkdir(parents=True)
            models.add(
                name,
                job=job.name or "",
                folder=f"models/{name}",
                properties={"task": "conversation"},
            )
        finish(service, job.name or "")
        while not (waiting := store.jobs(state=State.QUEUED)):
            time.sleep(0.02)
        finish(service, waiting[0].name, summary={"accuracy": 0.75})

    worker = threading.Thread(target=work)
    worker.start()
    found = ml_client.models.evaluate(
        model_name="phi-4-mini-distilled", test_data="./test_data.jsonl", metrics=["accuracy"]
    )
    worker.join()
    assert found == {"accuracy": 0.75}
    assert [model.name for model in ml_client.models.list()] == [
        "phi-4-mini-baseline",
        "phi-4-mini-distilled",
    ]
    assert ml_client.models.get("phi-4-mini-distilled").job_name == job.name


def test_an_evaluation_says_why_there_is_no_model(service: Running, ml_client: MLClient) -> None:
    with pytest.raises(NotFound):
        ml_client.models.evaluate(model_name="nothing", test_data="test_data.jsonl")
    ml_client.jobs.create_or_update(a_job())
    service.service.store.advance(claimed(service), State.FAILED, error=FAILURE)
    with pytest.raises(TeacherError, match="no answer"):
        ml_client.models.evaluate(model_name="phi-4-mini-distilled", test_data="test_data.jsonl")
    stopped = ml_client.jobs.create_or_update(a_job()).name
    ml_client.jobs.cancel(stopped or "")
    with pytest.raises(WrongState, match="is Canceled"):
        ml_client.models.evaluate(model_name="phi-4-mini-baseline", test_data="test_data.jsonl")


def test_where_the_service_is(
    service: Running, ml_client: MLClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert MLClient.from_config().client.url == service.url  # the folder above has it
    azure = tmp_path / "project" / ".azureml"
    azure.mkdir()
    file = azure / "config.json"
    file.write_text(json.dumps({"workspace_name": "w", "mwalimu_url": "https://nearer.example"}))
    assert MLClient.from_config().client.url == "https://nearer.example"
    file.write_text(json.dumps({"workspace_name": "w", "subscription_id": "s"}))
    assert MLClient.from_config().client.url == service.url  # it is of Azure alone
    assert MLClient.from_config(path=tmp_path / "mwalimu.json").client.url == service.url
    monkeypatch.setenv("MWALIMU_URL", "https://set.example")
    assert MLClient.from_config().client.url == "https://set.example"
    assert MLClient.from_config(path=tmp_path).client.url == service.url
    monkeypatch.delenv("MWALIMU_URL")
    file.write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read"):
        MLClient.from_config()
    monkeypatch.setenv("MWALIMU_URL", "https://set.example")
    file.unlink()
    monkeypatch.chdir(azure)
    with pytest.raises(ConfigError, match="backend"):
        MLClient.from_config(backend="cloud")
    monkeypatch.delenv("MWALIMU_TOKEN")
    with pytest.raises(ConfigError, match="MWALIMU_TOKEN"):
        Client.connect()
