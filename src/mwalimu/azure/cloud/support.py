"""What Azure's own distillation would refuse, said before anything is sent, all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mwalimu.azure.cloud.offered import (
    ASSET,
    INFERENCE,
    RANGES,
    STUDENTS,
    TASKS,
    TEACHERS,
    student_of,
    teaches,
)
from mwalimu.azure.cloud.request import NativeRequest, is_remote
from mwalimu.azure.constants import DataGenerationType
from mwalimu.errors import ConfigError, DataError

LABELS = DataGenerationType.LABEL_GENERATION
SHOWN = 50
_OUTPUT = re.compile(r"[A-Za-z0-9_-]{1,255}")
_ENDPOINT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{1,62}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """`where` is a field of the request, or file:line."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.fix}"


def refusals(request: NativeRequest, *, region: str | None = None) -> list[Refusal]:
    """Everything in the order of the fields; `region` is the workspace's, None where unknown.

    Files that Azure has already are not looked into.
    """
    return [
        *_task(request),
        *_teacher(request),
        *_student(request, region),
        *_data(request),
        *_ranges(request),
        *_prompting(request),
        *_output(request),
    ]


def require_accepted(request: NativeRequest, *, region: str | None = None) -> None:
    """Raises ConfigError with all that Azure would refuse of this job."""
    found = refusals(request, region=region)
    if not found:
        return
    shown = "\n".join(str(one) for one in found[:SHOWN])
    more = f"\n... and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise ConfigError(
        f"Azure would refuse this job for {len(found)} reason{'s'[: len(found) > 1]}\n"
        f"{shown}{more}",
        where=request.name or request.experiment_name,
    )


def _task(request: NativeRequest) -> Iterator[Refusal]:
    if request.task_type not in TASKS:
        yield Refusal(
            "data_generation_task_type", f"is {request.task_type!r}", f"use {_one_of(TASKS)}"
        )
    if request.data_generation_type != LABELS:
        yield Refusal(
            "data_generation_type",
            f"is {request.data_generation_type!r}, and Azure only labels prompts that are there",
            f"use {LABELS}; 'mwalimu synthesise' makes prompts",
        )


def _teacher(request: NativeRequest) -> Iterator[Refusal]:
    teacher = request.teacher
    if teacher.model is not None and not teaches(teacher.model):
        yield Refusal(
            "teacher_model", f"{teacher.model!r} is no teacher there", f"use {_one_of(TEACHERS)}"
        )
    where = "teacher_model_endpoint_connection"
    if not _ENDPOINT.fullmatch(teacher.name):
        yield Refusal(
            f"{where}.name", f"{teacher.name[:80]!r} is no endpoint's name", "name the endpoint"
        )
    if not teacher.url.startswith("https://"):
        yield Refusal(f"{where}.endpoint", "is no https address", "copy it from the endpoint")


def _student(request: NativeRequest, region: str | None) -> Iterator[Refusal]:
    student = student_of(request.student)
    if student is None:
        known = _one_of(one.name for one in STUDENTS)
        yield Refusal("student_model", f"{request.student!r} is no student there", f"use {known}")
        return
    asset = ASSET.fullmatch(request.student)
    if asset is None or asset["registry"] != student.registry:
        yield Refusal(
            "student_model",
            f"{request.student!r} does not say which version of which registry",
            f"write azureml://registries/{student.registry}/models/{student.name}/versions/N",
        )
    if region is not None and _region(region) != student.region:
        yield Refusal(
            "workspace",
            f"is in {region}, and {student.name} is fine-tuned in {student.region} only",
            f"use a workspace in {student.region}",
        )


def _data(request: NativeRequest) -> Iterator[Refusal]:
    if request.validation_data is None:
        yield Refusal("validation_data", f"is missing, which {LABELS} needs", "name a file")
    for field, path in (
        ("training_data", request.training_data),
        ("validation_data", request.validation_data),
    ):
        if path is None:
            continue
        if not path.startswith("azureml:") and _suffix(path) != ".jsonl":
            yield Refusal(field, f"{path} does not end in .jsonl", "'mwalimu convert' writes JSONL")
        elif not is_remote(path):
            yield from _rows(Path(path), request.task_type)


def _rows(path: Path, task_type: str) -> Iterator[Refusal]:
    from mwalimu.data.formats.checking import check
    from mwalimu.data.formats.source import open_source

    task = TASKS[task_type].ours if task_type in TASKS else "generic"
    try:
        found = check(open_source(path, task=task, name="azure"))
    except DataError as error:
        yield Refusal(error.where or str(path), error.what, error.fix)
        return
    for bad in found.problems:
        place = f"{path}:{bad.line}" if bad.line else str(path)
        what = f"{bad.field}: {bad.problem}" if bad.field else bad.problem
        yield Refusal(place, what, bad.fix)


def _ranges(request: NativeRequest) -> Iterator[Refusal]:
    for name in sorted(set(request.inference) - set(INFERENCE)):
        yield Refusal(
            f"inference_parameters.{name}", "is not known there", f"use {_one_of(INFERENCE)}"
        )
    settings = {
        **{f"inference_parameters.{name}": value for name, value in request.inference.items()},
        "endpoint_request_settings.request_batch_size": request.request_batch_size,
        "endpoint_request_settings.min_endpoint_success_ratio": request.min_endpoint_success_ratio,
    }
    for where, value in settings.items():
        low, high = RANGES.get(where.rpartition(".")[2], (None, None))
        if value is None or low is None or high is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield Refusal(where, f"{value!r} is no number", f"use {low} to {high}")
        elif not low <= value <= high:
            yield Refusal(where, f"is {value}", f"use {low} to {high}")


def _prompting(request: NativeRequest) -> Iterator[Refusal]:
    task = TASKS.get(request.task_type)
    if task is None:
        return
    for name, asked, taken in (
        ("enable_chain_of_thought", request.chain_of_thought, task.chain_of_thought),
        ("enable_chain_of_density", request.chain_of_density, task.chain_of_density),
        ("max_len_summary", request.max_len_summary is not None, task.max_len_summary),
    ):
        if asked and not taken:
            yield Refusal(
                f"prompt_settings.{name}", f"is not for {request.task_type}", "leave it out"
            )


def _output(request: NativeRequest) -> Iterator[Refusal]:
    if request.registers is not None and not _OUTPUT.fullmatch(request.registers):
        yield Refusal(
            "outputs.registered_model.name",
            f"{request.registers[:80]!r} is no name of an output",
            "use letters, digits, hyphens and underscores, 255 at most",
        )


def _suffix(path: str) -> str:
    return Path(path.partition("?")[0]).suffix.lower()


def _region(name: str) -> str:
    """ARM's name of it: "East US 2" is eastus2."""
    return name.replace(" ", "").lower()


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else str(last)
