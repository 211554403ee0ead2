"""`distillation(...)`, as `azure.ai.ml.model_customization` has it."""

from __future__ import annotations

from typing import Any

from mwalimu.azure.entities import (
    DistillationJob,
    EndpointRequestSettings,
    Input,
    PromptSettings,
    ResourceConfiguration,
    ServerlessConnection,
    TeacherModelSettings,
)

__all__ = [
    "EndpointRequestSettings",
    "PromptSettings",
    "TeacherModelSettings",
    "distillation",
]


def distillation(
    *,
    experiment_name: str,
    data_generation_type: str,
    data_generation_task_type: str,
    teacher_model_endpoint_connection: ServerlessConnection,
    student_model: Input | str,
    training_data: Input | str | None = None,
    validation_data: Input | str | None = None,
    teacher_model_settings: TeacherModelSettings | None = None,
    prompt_settings: PromptSettings | None = None,
    hyperparameters: dict[str, Any] | None = None,
    resources: ResourceConfiguration | None = None,
    **more: Any,
) -> DistillationJob:
    """`more`: outputs, name, display_name, description, tags, properties, prompts.

    What contradicts itself is told at submission.
    """
    return DistillationJob(
        experiment_name=experiment_name,
        data_generation_type=data_generation_type,
        data_generation_task_type=data_generation_task_type,
        teacher_model_endpoint_connection=teacher_model_endpoint_connection,
        student_model=student_model,
        training_data=training_data,
        validation_data=validation_data,
        teacher_model_settings=teacher_model_settings,
        prompt_settings=prompt_settings,
        hyperparameters=hyperparameters,
        resources=resources,
        **more,
    )
