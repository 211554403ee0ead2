"""Files that Azure would take, and requests that it would take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mwalimu.azure.cloud.request import Endpoint, NativeRequest
from mwalimu.azure.entities import (
    DistillationJob,
    EndpointRequestSettings,
    Input,
    PromptSettings,
    ResourceConfiguration,
    ServerlessConnection,
    TeacherModelSettings,
)

PHI = "azureml://registries/azureml/models/Phi-3.5-mini-instruct/versions/4"
LLAMA = "azureml://registries/azureml-meta/models/Meta-Llama-3.1-8B-Instruct/versions/2"
ENDPOINT = "https://teacher.eastus2.models.ai.azure.com"
SYSTEM = {"role": "system", "content": "Answer with one word."}


def write_rows(path: Path, count: int = 65, turns: int = 1) -> Path:
    """`turns` user turns a row, each but the last answered; of several the last one is, too."""
    with path.open("w") as handle:
        for index in range(count):
            messages = [SYSTEM]
            for turn in range(turns):
                messages.append({"role": "user", "content": f"question {index}.{turn}"})
                if turns > 1:
                    messages.append({"role": "assistant", "content": "an answer"})
            handle.write(json.dumps({"messages": messages}) + "\n")
    return path


def request(folder: Path, **changes: Any) -> NativeRequest:
    fields: dict[str, Any] = {
        "task_type": "NLI",
        "teacher": Endpoint("teacher", ENDPOINT),
        "student": PHI,
        "training_data": str(write_rows(folder / "train.jsonl")),
        "validation_data": str(write_rows(folder / "validation.jsonl")),
        "experiment_name": "tickets",
    }
    return NativeRequest(**{**fields, **changes})


def native_entity(folder: Path, **changes: Any) -> DistillationJob:
    """Every field that Azure's own distillation knows."""
    fields: dict[str, Any] = {
        "name": "tickets-1",
        "display_name": "Tickets",
        "description": "from the tests",
        "experiment_name": "tickets",
        "tags": {"team": "support"},
        "student_model": Input(path=PHI, type="mlflow_model"),
        "training_data": str(write_rows(folder / "train.jsonl")),
        "validation_data": Input(path=str(write_rows(folder / "validation.jsonl", 66))),
        "data_generation_task_type": "NLI",
        "teacher_model_endpoint_connection": ServerlessConnection(
            name="teacher", endpoint=ENDPOINT
        ),
        "teacher_model_settings": TeacherModelSettings(
            inference_parameters={"temperature": 0.2, "max_tokens": 100, "top_p": 0.9},
            endpoint_request_settings=EndpointRequestSettings(
                request_batch_size=5, min_endpoint_success_ratio=0.8
            ),
        ),
        "prompt_settings": PromptSettings(enable_chain_of_thought=True),
        "hyperparameters": {"learning_rate": 2e-5, "num_train_epochs": 3},
        "resources": ResourceConfiguration(instance_type="Standard_D2_v2"),
    }
    return DistillationJob(**{**fields, **changes})
