"""Teacher -> its provider's batch API."""

from __future__ import annotations

from mwalimu.errors import ConfigError
from mwalimu.teachers.base import Teacher
from mwalimu.teachers.batch.base import BatchClient
from mwalimu.teachers.served import ServedTeacher


def has_batches(teacher: Teacher) -> bool:
    """Whether it is a teacher that may have any."""
    return isinstance(_asked_here(teacher), ServedTeacher)


def build_batches(teacher: Teacher) -> BatchClient:
    """Raises ConfigError for a teacher that has no batches."""
    teacher = _asked_here(teacher)
    if not isinstance(teacher, ServedTeacher):
        raise ConfigError(
            f"{teacher.info.model} has no batch API",
            where="teacher.mode",
            fix="set teacher.mode: online",
        )
    kind = teacher.config.resolved_kind
    if kind == "anthropic":
        from mwalimu.teachers.batch.anthropic import AnthropicBatches

        return AnthropicBatches(teacher)
    if kind == "azure":
        from mwalimu.teachers.batch.azure import AzureBatches

        return AzureBatches(teacher)
    from mwalimu.teachers.batch.openai_files import OpenAIBatches

    return OpenAIBatches(teacher)


def _asked_here(teacher: Teacher) -> Teacher:
    """Files of requests go out from this process, wherever single requests do."""
    twin: Teacher = getattr(teacher, "twin", teacher)
    return twin
