"""What is handed over and what comes back, as plain records with the SDK's field names.

`DistillationJob` takes the tutorial's words (`teacher_model`, `task_type`) and the SDK's
(`teacher_model_endpoint_connection`, `data_generation_task_type`); `mwalimu.azure.mapping` says
what each means here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from mwalimu.azure.constants import AssetTypes, DataGenerationType


@dataclass(slots=True, kw_only=True)
class Input:
    """A local file, or an azureml:// name of data or of a model."""

    path: str
    type: str = AssetTypes.URI_FILE


@dataclass(slots=True, kw_only=True)
class Output:
    """`name` is that of the model which the job registers."""

    name: str | None = None
    type: str = AssetTypes.MLFLOW_MODEL
    path: str | None = None


@dataclass(slots=True, kw_only=True)
class ServerlessConnection:
    """Where the teacher answers. The key is neither shown nor sent with a job."""

    name: str
    endpoint: str | None = None
    api_key: str | None = field(default=None, repr=False)
    type: str = "serverless"


WorkspaceConnection = ServerlessConnection


@dataclass(slots=True, kw_only=True)
class ResourceConfiguration:
    """Azure's machine for the teacher's answers; a service of ours has its own slots."""

    instance_type: str | None = None
    instance_count: int | None = None


@dataclass(slots=True, kw_only=True)
class EndpointRequestSettings:
    """`min_endpoint_success_ratio`: a smaller share of answers fails the job, 0 to 1."""

    request_batch_size: int | None = None
    min_endpoint_success_ratio: float | None = None


@dataclass(slots=True, kw_only=True)
class TeacherModelSettings:
    """Inference parameters: temperature, max_tokens, top_p, frequency_penalty, presence_penalty,
    stop."""

    inference_parameters: dict[str, Any] | None = None
    endpoint_request_settings: EndpointRequestSettings | None = None


@dataclass(slots=True, kw_only=True)
class PromptSettings:
    """`max_len_summary` is in words."""

    enable_chain_of_thought: bool = False
    enable_chain_of_density: bool = False
    max_len_summary: int | None = None


@dataclass(slots=True, kw_only=True)
class Job:
    """What every job is told by; `status` has Azure's names, `error` says why one has failed."""

    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    experiment_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    type: str = "distillation"
    status: str | None = None
    studio_url: str | None = None
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class DistillationJob(Job):
    """A student that is to learn from a teacher.

    `hyperparameters` in any of the three dialects: learning_rate, batch_size, num_epochs,
    temperature (the teacher's sampling temperature); learning_rate,
    per_device_train_batch_size, num_train_epochs; learning_rate_multiplier, batch_size, n_epochs.

    `prompts` is of data_generation alone: the section `prompts` of distill.yaml, such as
    {"rows": 500}, whose seeds are the training data.
    """

    student_model: str | Input
    teacher_model: str | None = None
    training_data: str | Input | None = None
    validation_data: str | Input | None = None
    test_data: str | Input | None = None
    task_type: str | None = None
    hyperparameters: dict[str, Any] | None = None
    data_generation_type: str = DataGenerationType.LABEL_GENERATION
    data_generation_task_type: str | None = None
    teacher_model_endpoint_connection: ServerlessConnection | None = None
    teacher_model_settings: TeacherModelSettings | None = None
    prompt_settings: PromptSettings | None = None
    resources: ResourceConfiguration | None = None
    outputs: dict[str, Output] = field(default_factory=dict)
    prompts: dict[str, Any] | None = None

    def as_told(self, told: Job) -> DistillationJob:
        """The job that was handed over, with what the service says of it."""
        ours = ("type", "description", "properties")
        known = {f.name: getattr(told, f.name) for f in fields(Job) if f.name not in ours}
        return replace(self, **known, properties={**self.properties, **told.properties})

    def set_teacher_model_settings(
        self,
        inference_parameters: dict[str, Any] | None = None,
        endpoint_request_settings: EndpointRequestSettings | None = None,
    ) -> None:
        self.teacher_model_settings = TeacherModelSettings(
            inference_parameters=inference_parameters,
            endpoint_request_settings=endpoint_request_settings,
        )

    def set_prompt_settings(self, prompt_settings: PromptSettings | None) -> None:
        if prompt_settings is not None:
            self.prompt_settings = prompt_settings

    def set_finetuning_settings(self, hyperparameters: dict[str, Any] | None) -> None:
        if hyperparameters is not None:
            self.hyperparameters = hyperparameters


@dataclass(slots=True, kw_only=True)
class Model:
    """A registered model; `job_name` is the job that made it."""

    name: str
    version: str
    job_name: str | None = None
    created: float | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    type: str = AssetTypes.CUSTOM_MODEL
