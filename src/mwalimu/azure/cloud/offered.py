"""The pairs that Azure's own distillation takes, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass

SOURCE = (
    "Azure/azureml-assets assets/training/distillation/src (constants.py, student_models.py, "
    "validation.py, validate_pipeline.py; last changed 2025-04-23) and Azure/azureml-examples "
    "sdk/python/foundation-models/system/distillation/README.md (last changed 2025-02-24)"
)
READ_ON = "2026-11-28"

ASSET = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/models/(?P<model>[^/]+)/versions/(?P<version>\d+)"
)


@dataclass(frozen=True, slots=True)
class Student:
    """`region` is the only one whose workspaces can fine-tune it, by the name that ARM gives it."""

    name: str
    registry: str
    region: str


@dataclass(frozen=True, slots=True)
class Task:
    """`ours` is the same task in distill.yaml; the rest says which prompt settings it takes."""

    ours: str
    chain_of_thought: bool = False
    chain_of_density: bool = False
    max_len_summary: bool = False


TEACHERS = ("Meta-Llama-3.1-405B-Instruct",)

_PHI = (
    "Phi-3-mini-4k-instruct",
    "Phi-3-mini-128k-instruct",
    "Phi-3.5-mini-instruct",
    "Phi-3.5-MoE-instruct",
    "Phi-3-medium-4k-instruct",
    "Phi-3-medium-128k-instruct",
)
STUDENTS = (
    Student("Meta-Llama-3.1-8B-Instruct", "azureml-meta", "westus3"),
    *(Student(name, "azureml", "eastus2") for name in _PHI),
)

TASKS = {
    "NLI": Task("nli", chain_of_thought=True),
    "NLU_QA": Task("qa", chain_of_thought=True),
    "MATH": Task("math", chain_of_thought=True),
    "SUMMARIZATION": Task("summarization", chain_of_density=True, max_len_summary=True),
    "CONVERSATION": Task("conversation"),
}

RANGES = {
    "temperature": (0, 1),
    "top_p": (0, 1),
    "frequency_penalty": (0, 2),
    "presence_penalty": (0, 2),
    "request_batch_size": (1, 100),
    "min_endpoint_success_ratio": (0, 1),
}
INFERENCE = ("temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty", "stop")


def plain(name: str) -> str:
    """A model's name as it is compared: of an asset id or a hub id its own part, in lower case,
    without the maker's name in front.
    """
    found = ASSET.fullmatch(name)
    own = found["model"] if found else name.rstrip("/").rpartition("/")[2]
    return own.lower().removeprefix("meta-").replace("_", "-")


def student_of(name: str) -> Student | None:
    """The student that a name, a hub id, an asset id or an alias of our registry means."""
    return next((one for one in STUDENTS if plain(one.name) in _spellings(name)), None)


def teaches(name: str) -> bool:
    return any(plain(teacher) in _spellings(name) for teacher in TEACHERS)


def offers(teacher: str, student: str) -> bool:
    """Whether Azure's own distillation takes this pair of models."""
    return teaches(teacher) and student_of(student) is not None


def _spellings(name: str) -> set[str]:
    """What is written, and every name that our registry has for the same model."""
    from mwalimu.registry import find, find_student

    entries = (find_student(name), find(name))
    names = [other for entry in entries if entry for other in entry.names()]
    return {plain(one) for one in (name, *names)}
