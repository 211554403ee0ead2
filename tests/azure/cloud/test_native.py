"""Against the SDK itself: what it makes of Microsoft's own way of writing the same job."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.azure.cloud.native import connection_of, native_job, to_yaml
from mwalimu.azure.cloud.request import Endpoint, NativeRequest, request_of
from mwalimu.azure.cloud.sdk import quiet, sdk
from mwalimu.errors import ConfigError
from tests.azure.cloud.cases import ENDPOINT, PHI, native_entity, request

KEY = "sk-the-key-of-the-teacher"
INFORMATION = "azureml.connection_information"


def rest(job: Any) -> dict[str, Any]:
    with quiet():
        body: dict[str, Any] = job._to_rest_object().as_dict()
    return body


def as_microsoft_writes_it(made: NativeRequest) -> Any:
    """The notebooks of azureml-examples, key and all."""
    ml = sdk()
    with quiet():
        from azure.ai.ml.constants import DataGenerationTaskType, DataGenerationType

        job = ml.model_customization.distillation(
            experiment_name="tickets",
            data_generation_type=DataGenerationType.LABEL_GENERATION,
            data_generation_task_type=DataGenerationTaskType.NLI,
            teacher_model_endpoint_connection=ml.entities.ServerlessConnection(
                name="teacher", endpoint=ENDPOINT, api_key=KEY
            ),
            student_model=ml.Input(type="mlflow_model", path=PHI),
            training_data=ml.Input(type="uri_file", path=made.training_data),
            validation_data=ml.Input(type="uri_file", path=made.validation_data),
            outputs={
                "registered_model": ml.Output(
                    type="mlflow_model", name="Phi-3-5-mini-instruct-distilled"
                )
            },
            name="tickets-1",
            display_name="Tickets",
            description="from the tests",
            tags={"team": "support"},
        )
        job.set_teacher_model_settings(
            inference_parameters={"temperature": 0.2, "max_tokens": 100, "top_p": 0.9},
            endpoint_request_settings=ml.model_customization.EndpointRequestSettings(
                request_batch_size=5, min_endpoint_success_ratio=0.8
            ),
        )
        job.set_prompt_settings(ml.model_customization.PromptSettings(enable_chain_of_thought=True))
        job.set_finetuning_settings({"learning_rate": 2e-5, "num_train_epochs": 3})
        job.resources = ml.entities.ResourceConfiguration(instance_type="Standard_D2_v2")
        return job


def test_the_body_is_that_of_the_sdk_but_for_the_key(tmp_path: Path) -> None:
    made = request_of(native_entity(tmp_path))
    ours, theirs = rest(native_job(made)), rest(as_microsoft_writes_it(made))
    assert KEY in theirs["properties"]["properties"].pop(INFORMATION)  # the SDK's leak
    assert KEY not in json.dumps(ours)
    information = json.loads(ours["properties"]["properties"].pop(INFORMATION))
    assert (information["name"], information["target"]) == ("teacher", ENDPOINT)
    assert information["credentials"] == {"type": "none"}
    assert ours == theirs


def test_the_sdk_reads_its_own_wire_form_back_to_the_same_job(tmp_path: Path) -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobBase
    from azure.ai.ml.entities import Job

    job = native_job(request_of(native_entity(tmp_path)))
    sent = rest(job)
    with quiet():
        back = Job._from_rest_object(JobBase(json.loads(json.dumps(sent))))
    assert type(back) is type(job)
    assert back.teacher_model_settings == job.teacher_model_settings
    assert back.prompt_settings == job.prompt_settings
    assert back.resources == job.resources
    assert back.teacher_model_endpoint_connection.name == "teacher"
    again = rest(back)
    again["properties"].pop("services", None)
    assert again["properties"] == sent["properties"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"teacher_model_settings": None, "prompt_settings": None, "resources": None},
        {"hyperparameters": {"learning_rate_multiplier": 0.2, "n_epochs": 5, "batch_size": 2}},
        {"hyperparameters": None, "tags": {}, "name": None, "display_name": None},
        {"data_generation_task_type": "SUMMARIZATION", "prompt_settings": None},
    ],
)
def test_the_yaml_means_the_same_job_to_az_ml(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = request_of(native_entity(tmp_path, **changes))
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(to_yaml(made)))
    with quiet():
        loaded = sdk().load_job(file)
    ours, theirs = rest(native_job(made)), rest(loaded)
    if made.name is None:
        for body in (ours, theirs):
            body.pop("name", None)
    assert theirs == ours


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EXAMPLES = 200 if os.environ.get("MWALIMU_LONG") else 8
NUMBERS = st.floats(0, 1) | st.integers(0, 1)


@given(
    description=TEXTS,
    display_name=TEXTS,
    tags=st.dictionaries(TEXTS, TEXTS, max_size=3),
    hyperparameters=st.dictionaries(TEXTS, TEXTS, max_size=3),
    inference=st.dictionaries(st.sampled_from(["temperature", "top_p"]), NUMBERS),
    request_batch_size=st.none() | st.integers(1, 100),
    min_endpoint_success_ratio=st.none() | st.floats(0, 1),
)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_the_yaml_of_any_request_means_the_same_job(
    tmp_path_factory: pytest.TempPathFactory, **changes: Any
) -> None:
    """Texts that mean something to YAML, numbers that YAML writes in its own way."""
    made = NativeRequest(
        task_type="NLI",
        teacher=Endpoint("teacher", ENDPOINT),
        student=PHI,
        training_data="azureml://datastores/a/paths/train.jsonl",
        validation_data="azureml://datastores/a/paths/validation.jsonl",
        experiment_name="tickets",
        name="tickets-1",
        **changes,
    )
    file = tmp_path_factory.mktemp("any") / "job.yaml"
    file.write_text(yaml.safe_dump(to_yaml(made)), encoding="utf-8")
    with quiet():
        loaded = sdk().load_job(file)
    assert rest(loaded) == rest(native_job(made))


def test_the_yaml_is_read_by_our_own_client_too(tmp_path: Path) -> None:
    from mwalimu.azure.job_file import load_job

    made = request_of(native_entity(tmp_path))
    plain = to_yaml(made)
    connection = plain["teacher_model_endpoint_connection"]
    plain["teacher_model_endpoint_connection"] = {
        "type": "serverless",
        "name": connection["name"],
        "endpoint": connection["target"],
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(plain))
    assert request_of(load_job(file)) == made


def test_the_tutorial_s_words(tmp_path: Path) -> None:
    words = {"learning_rate": 1e-4, "num_epochs": 2, "temperature": 0.7}
    made = request_of(native_entity(tmp_path, hyperparameters=words, teacher_model_settings=None))
    assert made.hyperparameters == {"learning_rate": "0.0001", "num_train_epochs": "2"}
    assert made.inference == {"temperature": 0.7}


@pytest.mark.parametrize("field", ["description", "display_name", "experiment_name"])
def test_a_key_in_a_field_that_others_read_is_refused(tmp_path: Path, field: str) -> None:
    made = request(tmp_path, teacher=Endpoint("teacher", ENDPOINT, key=KEY))
    native_job(made)
    with pytest.raises(ConfigError) as raised:
        native_job(dataclasses.replace(made, **{field: f"uses {KEY}"}))
    assert KEY not in str(raised.value)


def test_the_key_is_the_connection_s_alone() -> None:
    teacher = Endpoint("teacher", ENDPOINT, key=KEY)
    assert KEY not in repr(teacher)
    assert connection_of(teacher).credentials.key == KEY
    assert connection_of(Endpoint("teacher", ENDPOINT)) is None


def test_no_endpoint_no_native_job(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="teacher_model_endpoint_connection"):
        request_of(native_entity(tmp_path, teacher_model_endpoint_connection=None))
