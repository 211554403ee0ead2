"""What each vocabulary of Azure's means here, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mwalimu.azure.entities import (
    DistillationJob,
    EndpointRequestSettings,
    Input,
    Output,
    PromptSettings,
    ServerlessConnection,
    TeacherModelSettings,
)
from mwalimu.azure.job_file import load_job
from mwalimu.azure.mapping import model_name, submission_of
from mwalimu.azure.model_customization import distillation
from mwalimu.config import build_config
from mwalimu.errors import ConfigError


def tutorial(**changes: Any) -> DistillationJob:
    given: dict[str, Any] = {
        "teacher_model": "deepseek-v3",
        "student_model": "phi-4-mini",
        "training_data": "./training_data.jsonl",
        "validation_data": "./validation_data.jsonl",
        "task_type": "conversation",
        "hyperparameters": {
            "learning_rate": 2e-5,
            "batch_size": 2,
            "num_epochs": 3,
            "temperature": 0.7,
        },
    }
    return DistillationJob(**given | changes)


def test_the_tutorials_words() -> None:
    found = submission_of(tutorial())
    assert found["registers"] == ["phi-4-mini-distilled", "phi-4-mini-baseline"]
    assert found["config"] == {
        "task": "conversation",
        "data": {"train": "./training_data.jsonl", "validation": "./validation_data.jsonl"},
        "teacher": {"model": "deepseek-v3", "temperature": 0.7},
        "student": {"model": "phi-4-mini"},
        "finetune": {"learning_rate": 2e-5, "batch_size": 2, "epochs": 3},
        "generate": {"min_ok": 0.7, "conversation": "relabel"},
    }
    build_config(found["config"], base=Path())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            {"learning_rate": "2e-5", "per_device_train_batch_size": "1", "num_train_epochs": "3"},
            {"learning_rate": 2e-5, "batch_size": 1, "epochs": 3},
        ),
        (
            {"learning_rate_multiplier": "0.2", "n_epochs": "5", "batch_size": "2"},
            {"learning_rate": pytest.approx(4e-6), "batch_size": 2, "epochs": 5},
        ),
    ],
)
def test_both_dialects_of_the_sdks_hyperparameters(
    given: dict[str, str], meant: dict[str, Any]
) -> None:
    assert submission_of(tutorial(hyperparameters=given))["config"]["finetune"] == meant


def sdk(**changes: Any) -> DistillationJob:
    given: dict[str, Any] = {
        "experiment_name": "nli",
        "data_generation_type": "label_generation",
        "data_generation_task_type": "NLI",
        "teacher_model_endpoint_connection": ServerlessConnection(
            name="Meta-Llama-3.1-405B-Instruct", endpoint="https://llama.eastus2.example"
        ),
        "student_model": "azureml://registries/azureml/models/Phi-3.5-mini-instruct/versions/1",
        "training_data": Input(type="uri_file", path="train.jsonl"),
        "validation_data": "validation.jsonl",
        "teacher_model_settings": TeacherModelSettings(
            inference_parameters={"temperature": 0.1, "max_tokens": 100, "presence_penalty": 0.5},
            endpoint_request_settings=EndpointRequestSettings(
                request_batch_size=10, min_endpoint_success_ratio=0.9
            ),
        ),
        "prompt_settings": PromptSettings(enable_chain_of_thought=True),
        "outputs": {"registered_model": Output(name="llama-tuned")},
    }
    return distillation(**given | changes)


def test_the_sdks_words() -> None:
    found = submission_of(sdk())
    assert found["registers"] == ["llama-tuned", "Phi-3.5-mini-instruct-baseline"]
    assert found["experiment_name"] == "nli"
    assert found["config"] == {
        "task": "nli",
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "teacher": {
            "model": "Meta-Llama-3.1-405B-Instruct",
            "base_url": "https://llama.eastus2.example",
            "temperature": 0.1,
            "max_tokens": 100,
            "extra_body": {"presence_penalty": 0.5},
            "concurrency": 10,
        },
        "student": {"model": "Phi-3.5-mini-instruct"},
        "generate": {"min_ok": 0.9, "chain_of_thought": True},
    }
    config = build_config(found["config"], base=Path())
    assert config.student.model == "microsoft/Phi-3.5-mini-instruct"


def test_setters_change_what_is_submitted() -> None:
    job = sdk(data_generation_task_type="SUMMARIZATION", prompt_settings=None)
    job.set_prompt_settings(PromptSettings(enable_chain_of_density=True, max_len_summary=40))
    job.set_teacher_model_settings(inference_parameters={"temperature": 0})
    job.set_finetuning_settings({"n_epochs": 2})
    config = submission_of(job)["config"]
    wanted = {"chain_of_density": True, "max_summary_words": 40, "min_ok": 0.7}
    assert config["generate"] == wanted
    assert config["teacher"]["temperature"] == 0 and "concurrency" not in config["teacher"]
    assert config["finetune"] == {"epochs": 2}


def test_data_generation_makes_prompts_from_the_training_data_as_seeds() -> None:
    job = sdk(data_generation_type="data_generation", prompts={"rows": 500})
    config = submission_of(job)["config"]
    assert config["prompts"] == {"method": "self_instruct", "seeds": "train.jsonl", "rows": 500}
    assert "train" not in config["data"]
    build_config(config, base=Path())


REFUSED: list[tuple[DistillationJob, str]] = [
    (tutorial(task_type=None), "task_type: is required"),
    (tutorial(task_type="poetry"), "'poetry' is unknown"),
    (tutorial(data_generation_task_type="MATH"), "contradicts data_generation_task_type"),
    (tutorial(teacher_model=None), "teacher_model: is required"),
    (tutorial(training_data=None), "training_data: is required"),
    (tutorial(training_data="azureml:rows:1"), "fetches nothing"),
    (tutorial(training_data="https://example.com/a.jsonl"), "fetches nothing"),
    (tutorial(hyperparameters={"learning_rates": 1}), "'learning_rates' is unknown"),
    (tutorial(hyperparameters={"learning_rate": "fast"}), "'fast' is no number"),
    (
        tutorial(hyperparameters={"batch_size": 2, "per_device_train_batch_size": 4}),
        "finetune.batch_size to 4, which was set to 2",
    ),
    (
        tutorial(
            teacher_model_settings=TeacherModelSettings(inference_parameters={"temperature": 0.1})
        ),
        "teacher.temperature to 0.1, which was set to 0.7",
    ),
    (tutorial(prompts={"rows": 5}), "contradicts label_generation"),
    (tutorial(data_generation_type="data_generation"), "how many prompts"),
    (tutorial(data_generation_type="magic"), "'magic' is unknown"),
    (
        tutorial(prompt_settings=PromptSettings(enable_chain_of_thought=True)),
        "does not go with conversation",
    ),
    (sdk(prompt_settings=PromptSettings(max_len_summary=5)), "are of SUMMARIZATION"),
    (sdk(student_model="azureml:a/b/c"), "no name of a model"),
]


@pytest.mark.parametrize(("job", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_the_service_cannot_take_is_said(job: DistillationJob, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        submission_of(job)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_is_neither_sent_nor_shown() -> None:
    connection = ServerlessConnection(name="x", endpoint="https://x.example", api_key="s3cret")
    with pytest.raises(ConfigError) as caught:
        submission_of(sdk(teacher_model_endpoint_connection=connection))
    assert "api_key" in str(caught.value) and "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(connection)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("phi-4-mini", "phi-4-mini"),
        ("azureml:my-model:3", "my-model"),
        ("azureml://registries/azureml/models/Phi-3.5-mini/versions/2", "Phi-3.5-mini"),
        ("azureml://registries/azureml-meta/models/Llama/labels/latest", "Llama"),
        (
            "azureml:/subscriptions/1/resourceGroups/g/providers/Microsoft.MachineLearningServices"
            "/workspaces/w/models/mine/versions/3",
            "mine",
        ),
    ],
)
def test_names_of_models(text: str, name: str) -> None:
    assert model_name(Input(path=text), "student_model") == name


# As in Azure/azureml-examples, cli/foundation-models/system/distillation/nli.
YAML = """\
$schema: https://azuremlschemas.azureedge.net/latest/distillationJob.schema.json
type: distillation
name: distillation-nli
description: Distill Llama on NLI
experiment_name: distillation-nli
data_generation_type: label_generation
data_generation_task_type: nli
training_data:
  type: uri_file
  path: ./train.jsonl
validation_data: ./validation.jsonl
teacher_model_endpoint_connection:
  type: serverless
  name: Meta-Llama-3.1-405B-Instruct
  endpoint: https://llama.eastus2.example
student_model: azureml://registries/azureml/models/Phi-3.5-mini-instruct/versions/1
outputs:
  registered_model:
    type: mlflow_model
    name: nli-student
teacher_model_settings:
  inference_parameters:
    temperature: 0.1
    max_tokens: 100
  endpoint_request_settings:
    request_batch_size: 10
    min_endpoint_success_ratio: 0.7
prompt_settings:
  enable_chain_of_thought: true
hyperparameters:
  learning_rate_multiplier: "0.2"
  n_epochs: "5"
  batch_size: "2"
resources:
  instance_type: Standard_D2_v2
"""


def test_the_yaml_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(YAML)
    found = submission_of(load_job(file))
    assert (found["name"], found["registers"][0]) == ("distillation-nli", "nli-student")
    assert found["config"]["data"]["validation"] == str(tmp_path / "validation.jsonl")
    assert found["config"]["teacher"]["concurrency"] == 10
    assert found["config"]["finetune"]["epochs"] == 5


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("type: distillation\n", "type: command\n", "no job of type: distillation"),
        ("hyperparameters:", "hyper_parameters:", "'hyper_parameters' is unknown"),
        ("    request_batch_size", "    batch", "'batch' is unknown"),
        ("name: distillation-nli\n", "name: [distillation-nli\n", "not valid YAML"),
        ("prompt_settings:\n  enable", "prompt_settings: 3\nx:\n  enable", "not a mapping"),
        ("  name: Meta-Llama-3.1-405B-Instruct\n", "", "argument: 'name'"),
    ],
)
def test_a_wrong_yaml_is_one_line(tmp_path: Path, before: str, after: str, said: str) -> None:
    file = tmp_path / "job.yaml"
    assert before in YAML
    file.write_text(YAML.replace(before, after, 1))
    with pytest.raises(ConfigError) as caught:
        load_job(file)
    assert said in str(caught.value) and "\n" not in str(caught.value)
