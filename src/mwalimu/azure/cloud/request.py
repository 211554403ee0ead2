"""What a distillation job of Azure is asked to do, before any of its SDK's classes exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mwalimu.azure.cloud.offered import TASKS
from mwalimu.azure.entities import DistillationJob, Input
from mwalimu.azure.mapping import registered_names, task_of
from mwalimu.errors import ConfigError

TEMPERATURE = "temperature"
_TUTORIAL = {"num_epochs": "num_train_epochs"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The teacher's serverless endpoint in the workspace; Azure finds its key by this name.

    `model` is what it serves, where that is known. `key` is only ever sent to the workspace's
    connections, which Azure keeps in its Key Vault; it is shown nowhere.
    """

    name: str
    url: str
    model: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """By Azure's names. `student` is an asset id, the data are local paths or Azure's addresses."""

    task_type: str
    teacher: Endpoint
    student: str
    training_data: str
    validation_data: str | None
    experiment_name: str
    data_generation_type: str = "label_generation"
    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)
    request_batch_size: int | None = None
    min_endpoint_success_ratio: float | None = None
    chain_of_thought: bool = False
    chain_of_density: bool = False
    max_len_summary: int | None = None  # words
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    instance_type: str | None = None
    registers: str | None = None  # the name of the model that it makes


def request_of(job: DistillationJob) -> NativeRequest:
    """What Azure's own distillation is asked; `test_data` and `prompts` have no place in it.

    Among the tutorial's hyperparameters is the teacher's temperature, which Azure takes with its
    inference parameters.

    Raises:
        ConfigError: no endpoint of the teacher is named, or no task.
    """
    connection = job.teacher_model_endpoint_connection
    if connection is None:
        raise ConfigError(
            "is required: Azure asks a serverless endpoint of the workspace",
            where="teacher_model_endpoint_connection",
            fix="name one, and its address",
        )
    task = task_of(job)
    settings, prompting = job.teacher_model_settings, job.prompt_settings
    requests = settings and settings.endpoint_request_settings
    learning = dict(job.hyperparameters or {})
    inference = dict((settings and settings.inference_parameters) or {})
    if TEMPERATURE in learning:
        inference.setdefault(TEMPERATURE, learning.pop(TEMPERATURE))
    return NativeRequest(
        task_type=next((name for name, one in TASKS.items() if one.ours == task), task.upper()),
        teacher=Endpoint(
            connection.name,
            connection.endpoint or "",
            job.teacher_model,
            connection.api_key or None,
        ),
        student=_path(job.student_model) or "",
        training_data=_path(job.training_data) or "",
        validation_data=_path(job.validation_data),
        experiment_name=job.experiment_name or "mwalimu",
        data_generation_type=str(job.data_generation_type),
        name=job.name,
        display_name=job.display_name,
        description=job.description,
        tags=dict(job.tags),
        inference=inference,
        request_batch_size=requests.request_batch_size if requests else None,
        min_endpoint_success_ratio=requests.min_endpoint_success_ratio if requests else None,
        chain_of_thought=bool(prompting and prompting.enable_chain_of_thought),
        chain_of_density=bool(prompting and prompting.enable_chain_of_density),
        max_len_summary=prompting.max_len_summary if prompting else None,
        hyperparameters={_TUTORIAL.get(name, name): str(v) for name, v in learning.items()},
        instance_type=job.resources.instance_type if job.resources else None,
        registers=registered_as(job),
    )


def registered_as(job: DistillationJob) -> str:
    """The name of the model that it makes. Azure's names of outputs have no dot, so that a name
    out of the student's has hyphens; one that was given stays as it is.
    """
    output = job.outputs.get("registered_model")
    name = registered_names(job)[0]
    return name if output and output.name else name.replace(".", "-")


def _path(value: str | Input | None) -> str | None:
    return value.path if isinstance(value, Input) else value


def is_remote(path: str) -> bool:
    """Whether Azure has it already: `azureml:...` or an address."""
    return path.startswith(("azureml:", "https:", "http:", "wasbs:", "abfss:"))
