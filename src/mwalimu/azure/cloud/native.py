"""A request -> the SDK's own distillation job, and the YAML that `az ml job create` takes."""

from __future__ import annotations

import os
from typing import Any

from mwalimu.azure.cloud.request import Endpoint, NativeRequest, is_remote
from mwalimu.azure.cloud.sdk import boundary, sdk
from mwalimu.errors import ConfigError

REGISTERED = "registered_model"


def native_job(request: NativeRequest) -> Any:
    """`azure.ai.ml.model_customization.distillation(...)` of what was asked. Sends nothing.

    Azure finds the teacher's key by the endpoint's name. The SDK would write a connection with a
    key into the job's properties, where every reader of the workspace sees it: the connection
    that goes along here has none. It is of type custom because the SDK cannot read one of type
    serverless without a key back.
    """
    ml = sdk()
    entities, customisation = ml.entities, ml.model_customization
    with boundary("the distillation job"):
        job = customisation.distillation(
            experiment_name=request.experiment_name,
            data_generation_type=request.data_generation_type,
            data_generation_task_type=request.task_type,
            teacher_model_endpoint_connection=entities.WorkspaceConnection(
                name=request.teacher.name,
                type="custom",
                target=request.teacher.url,
                credentials=entities.NoneCredentialConfiguration(),
            ),
            student_model=ml.Input(type="mlflow_model", path=request.student),
            training_data=_data(ml, request.training_data),
            validation_data=_data(ml, request.validation_data),
            teacher_model_settings=_teacher_settings(customisation, request),
            prompt_settings=customisation.PromptSettings(
                enable_chain_of_thought=request.chain_of_thought,
                enable_chain_of_density=request.chain_of_density,
                max_len_summary=request.max_len_summary,
            ),
            hyperparameters=dict(request.hyperparameters) or None,
            resources=request.instance_type
            and entities.ResourceConfiguration(instance_type=request.instance_type),
            outputs={REGISTERED: ml.Output(type="mlflow_model", name=request.registers)}
            if request.registers
            else None,
            name=request.name,
            display_name=request.display_name or None,
            description=request.description or None,
            tags=dict(request.tags),
        )
    _hold_no_key(job, request.teacher)
    return job


def connection_of(teacher: Endpoint) -> Any | None:
    """The workspace connection that holds the teacher's key; None where no key was given."""
    if teacher.key is None:
        return None
    ml = sdk()
    with boundary(f"connection {teacher.name}", secrets=(teacher.key,)):
        return ml.entities.ServerlessConnection(
            name=teacher.name, endpoint=teacher.url, api_key=teacher.key
        )


def to_yaml(request: NativeRequest) -> dict[str, Any]:
    """What `az ml job create --file` reads, for `yaml.safe_dump`. Holds no key."""
    settings = {
        "inference_parameters": dict(request.inference),
        "endpoint_request_settings": _present(
            request_batch_size=request.request_batch_size,
            min_endpoint_success_ratio=request.min_endpoint_success_ratio,
        ),
    }
    return {
        "type": "distillation",
        **_present(
            name=request.name,
            display_name=request.display_name,
            description=request.description,
            tags=dict(request.tags),
        ),
        "experiment_name": request.experiment_name,
        "data_generation_type": request.data_generation_type,
        "data_generation_task_type": request.task_type,
        "teacher_model_endpoint_connection": {
            "type": "custom",
            "name": request.teacher.name,
            "target": request.teacher.url,
            "credentials": {"type": "none"},
        },
        "student_model": {"type": "mlflow_model", "path": request.student},
        "training_data": _yaml_data(request.training_data),
        **_present(
            validation_data=_yaml_data(request.validation_data),
            teacher_model_settings=_present(**settings),
            prompt_settings=_present(
                enable_chain_of_thought=request.chain_of_thought,
                enable_chain_of_density=request.chain_of_density,
                max_len_summary=request.max_len_summary,
            ),
            hyperparameters=dict(request.hyperparameters),
            resources=_present(instance_type=request.instance_type),
            outputs=request.registers
            and {REGISTERED: {"type": "mlflow_model", "name": request.registers}},
        ),
    }


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, {}, "")}


def _data(ml: Any, path: str | None) -> Any | None:
    return None if path is None else ml.Input(type="uri_file", path=_placed(path))


def _yaml_data(path: str | None) -> dict[str, str] | None:
    return None if path is None else {"type": "uri_file", "path": _placed(path)}


def _placed(path: str) -> str:
    """A local file from the root: the SDK takes other paths from a folder of its own choice."""
    return path if is_remote(path) else os.path.abspath(path)


def _teacher_settings(customisation: Any, request: NativeRequest) -> Any:
    requests = customisation.EndpointRequestSettings(
        request_batch_size=request.request_batch_size,
        min_endpoint_success_ratio=request.min_endpoint_success_ratio,
    )
    return customisation.TeacherModelSettings(
        inference_parameters=dict(request.inference), endpoint_request_settings=requests
    )


def _hold_no_key(job: Any, teacher: Endpoint) -> None:
    """Raises ConfigError if the key is anywhere in what would be sent."""
    with boundary("the distillation job"):
        sent = repr(job._to_rest_object().as_dict())
    if teacher.key is not None and teacher.key in sent:
        raise ConfigError(
            "the teacher's key stands in a field that Azure shows to all readers",
            where="the distillation job",
            fix="keep it out of names, tags, descriptions and settings",
        )
