"""A DistillationJob -> a submission of the job service. Local files stay paths in its config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mwalimu.azure.constants import DataGenerationTaskType, DataGenerationType
from mwalimu.azure.entities import DistillationJob, Input
from mwalimu.config import TASKS, FinetuneConfig
from mwalimu.data.record import Json
from mwalimu.errors import ConfigError
from mwalimu.jobs.workspace import plain_name

_TASKS = {
    DataGenerationTaskType.NLI: "nli",
    DataGenerationTaskType.NLU_QA: "qa",
    DataGenerationTaskType.CONVERSATION: "conversation",
    DataGenerationTaskType.MATH: "math",
    DataGenerationTaskType.SUMMARIZATION: "summarization",
}
MIN_SUCCESS_RATIO = 0.7  # as Azure's min_endpoint_success_ratio, where nothing is said
_DEFAULT_RATE: float = FinetuneConfig().learning_rate


def _rate_of_multiplier(value: Any) -> float:
    return float(value) * _DEFAULT_RATE


_HYPERPARAMETERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "learning_rate": ("finetune.learning_rate", float),
    "learning_rate_multiplier": ("finetune.learning_rate", _rate_of_multiplier),
    "batch_size": ("finetune.batch_size", int),
    "per_device_train_batch_size": ("finetune.batch_size", int),
    "num_epochs": ("finetune.epochs", int),
    "num_train_epochs": ("finetune.epochs", int),
    "n_epochs": ("finetune.epochs", int),
    "gradient_accumulation_steps": ("finetune.accumulation", int),
    "warmup_ratio": ("finetune.warmup_ratio", float),
    "weight_decay": ("finetune.weight_decay", float),
    "max_grad_norm": ("finetune.max_grad_norm", float),
    "temperature": ("teacher.temperature", float),
}
_INFERENCE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "temperature": ("teacher.temperature", float),
    "top_p": ("teacher.top_p", float),
    "max_tokens": ("teacher.max_tokens", int),
    "stop": ("teacher.stop", lambda value: [value] if isinstance(value, str) else list(value)),
    "frequency_penalty": ("teacher.extra_body.frequency_penalty", float),
    "presence_penalty": ("teacher.extra_body.presence_penalty", float),
}
_MODEL = re.compile(
    r"azureml:/{0,2}(?:/?registries/[^/]+/|/?subscriptions/.+/workspaces/[^/]+/)?(?:models/)?"
    r"(?P<name>[^/:]+)(?:(?:/versions/|/labels/|:)(?P<version>[^/:]+))?"
)


def submission_of(job: DistillationJob) -> Json:
    """What is posted to `/v1/jobs`; `config` names local files where the job did.

    Raises:
        ConfigError: says which field the service cannot take, and why.
    """
    student = model_name(job.student_model, "student_model")
    names = registered_names(job)
    return {
        "kind": "distillation",
        "name": job.name,
        "display_name": job.display_name or "",
        "experiment_name": job.experiment_name or "",
        "tags": dict(job.tags),
        "registers": list(names),
        "config": _config(job, student),
    }


def registered_names(job: DistillationJob) -> tuple[str, str]:
    """The student's and the baseline's: <student>-distilled unless outputs.registered_model says
    otherwise, and <student>-baseline."""
    stem = plain_name(model_name(job.student_model, "student_model").rpartition("/")[2])
    output = job.outputs.get("registered_model")
    return (output.name if output and output.name else f"{stem}-distilled", f"{stem}-baseline")


def task_of(job: DistillationJob) -> str:
    """The task by our name. Raises ConfigError for none, two that differ, or an unknown one."""
    given = {_task(name) for name in (job.task_type, job.data_generation_task_type) if name}
    if len(given) != 1:
        raise ConfigError(
            "contradicts data_generation_task_type" if given else "is required",
            where="task_type",
            fix=f"one of {', '.join(DataGenerationTaskType)}",
        )
    return given.pop()


def model_name(model: str | Input, where: str) -> str:
    """The name that the registry knows, out of an azureml:// address or as it is."""
    text = model if isinstance(model, str) else model.path
    if not text.startswith("azureml:"):
        return text
    found = _MODEL.fullmatch(text)
    if not found:
        raise ConfigError("is no name of a model that can be read", where=f"{where} {text!r}")
    return found["name"]


def _config(job: DistillationJob, student: str) -> Json:
    config: Json = {
        "task": task_of(job),
        "data": {},
        "teacher": _teacher(job),
        "student": {"model": student},
    }
    _data(config, job)
    _put(config, job.hyperparameters, _HYPERPARAMETERS, "hyperparameters")
    _teacher_settings(config, job)
    _prompt_settings(config, job)
    config.setdefault("generate", {}).setdefault("min_ok", MIN_SUCCESS_RATIO)
    if config["task"] == "conversation":
        _set(config, "generate.conversation", "relabel", "task_type")  # as Azure: every turn
    return config


def _data(config: Json, job: DistillationJob) -> None:
    training = _file(job.training_data, "training_data")
    for split, data in (("validation", job.validation_data), ("test", job.test_data)):
        if data is not None:
            config["data"][split] = _file(data, f"{split}_data")
    if job.data_generation_type.casefold() == DataGenerationType.DATA_GENERATION:
        config["prompts"] = _prompts(job, training)
        return
    if job.data_generation_type.casefold() != DataGenerationType.LABEL_GENERATION:
        raise ConfigError(
            f"{job.data_generation_type!r} is unknown",
            where="data_generation_type",
            fix=f"one of {', '.join(DataGenerationType)}",
        )
    if training is None:
        raise ConfigError("is required: the rows that the teacher answers", where="training_data")
    if job.prompts:
        raise ConfigError(
            "contradicts label_generation, which takes the prompts from training_data",
            where="prompts",
            fix="set data_generation_type to data_generation",
        )
    config["data"]["train"] = training


def _prompts(job: DistillationJob, training: str | None) -> Json:
    """Prompts that the teacher writes: from the training data as seeds, unless it is said how."""
    if not job.prompts or "rows" not in job.prompts:
        raise ConfigError(
            "does not say how many prompts to make",
            where="data_generation",
            fix='give prompts={"rows": 500}; training_data are its seeds',
        )
    seeds = {"seeds": training} if training else {}
    return {"method": "self_instruct", **seeds, **job.prompts}


def _teacher(job: DistillationJob) -> Json:
    connection = job.teacher_model_endpoint_connection
    if connection is None:
        if not job.teacher_model:
            raise ConfigError("is required", where="teacher_model", fix="name a teacher")
        return {"model": job.teacher_model}
    if connection.api_key:
        raise ConfigError(
            "a key is not sent with a job: it would be kept with it",
            where="teacher_model_endpoint_connection.api_key",
            fix="leave it out, and set it in the environment of the service",
        )
    teacher: Json = {"model": job.teacher_model or connection.name}
    return teacher | ({"base_url": connection.endpoint} if connection.endpoint else {})


def _teacher_settings(config: Json, job: DistillationJob) -> None:
    if (settings := job.teacher_model_settings) is None:
        return
    where = "teacher_model_settings"
    _put(config, settings.inference_parameters, _INFERENCE, f"{where}.inference_parameters")
    if (requests := settings.endpoint_request_settings) is None:
        return
    if requests.request_batch_size is not None:
        _set(config, "teacher.concurrency", int(requests.request_batch_size), where)
    if requests.min_endpoint_success_ratio is not None:
        _set(config, "generate.min_ok", float(requests.min_endpoint_success_ratio), where)


def _prompt_settings(config: Json, job: DistillationJob) -> None:
    """As Azure, each only where the task has a use for it."""
    if (settings := job.prompt_settings) is None:
        return
    task, where = config["task"], "prompt_settings"
    if settings.enable_chain_of_thought:
        if task in ("summarization", "conversation"):
            raise ConfigError(f"does not go with {task}", where=f"{where}.enable_chain_of_thought")
        _set(config, "generate.chain_of_thought", True, where)
    if task != "summarization" and (settings.enable_chain_of_density or settings.max_len_summary):
        raise ConfigError("chain of density and max_len_summary are of SUMMARIZATION", where=where)
    if settings.enable_chain_of_density:
        _set(config, "generate.chain_of_density", True, where)
    if settings.max_len_summary is not None:
        _set(config, "generate.max_summary_words", settings.max_len_summary, where)


def _put(
    config: Json,
    values: Mapping[str, Any] | None,
    known: Mapping[str, tuple[str, Callable[[Any], Any]]],
    where: str,
) -> None:
    for name, value in (values or {}).items():
        if name not in known:
            raise ConfigError(f"{name!r} is unknown; there are {', '.join(known)}", where=where)
        key, read = known[name]
        try:
            typed = read(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{value!r} is no number", where=f"{where}.{name}") from None
        _set(config, key, typed, f"{where}.{name}")


def _set(config: Json, key: str, value: Any, where: str) -> None:
    *sections, leaf = key.split(".")
    node = config
    for section in sections:
        node = node.setdefault(section, {})
    if node.setdefault(leaf, value) != value:
        raise ConfigError(f"sets {key} to {value}, which was set to {node[leaf]}", where=where)


def _task(name: str) -> str:
    upper = name.upper()
    if upper in set(DataGenerationTaskType):
        return _TASKS[DataGenerationTaskType(upper)]
    if name.casefold() in TASKS:
        return name.casefold()
    raise ConfigError(
        f"{name!r} is unknown",
        where="task_type",
        fix=f"one of {', '.join(DataGenerationTaskType)}, or {', '.join(TASKS)}",
    )


def _file(data: str | Input | None, where: Literal["training_data"] | str) -> str | None:
    """A local path, or `dataset:NAME` as it is."""
    if data is None:
        return None
    text = (data if isinstance(data, str) else data.path).removeprefix("file://")
    if re.match(r"(azureml|https?|wasbs?|abfss?):", text):
        raise ConfigError(
            "is not here, and the service fetches nothing",
            where=f"{where} {text!r}",
            fix="download it, or name an uploaded one by dataset:NAME",
        )
    return text
