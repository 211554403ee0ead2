"""Config -> teacher; each kind is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable

from mwalimu.config import TeacherConfig
from mwalimu.garbage import importing
from mwalimu.teachers.base import Teacher
from mwalimu.teachers.wire import Wire

Build = Callable[[TeacherConfig], Teacher]
"""How a config becomes a teacher: here, or on other machines."""


def build_teacher(config: TeacherConfig) -> Teacher:
    """Raises TeacherError kinds when the teacher cannot be had at all."""
    kind = config.resolved_kind
    if kind == "local":
        with importing():
            from mwalimu.teachers.local import LocalTeacher

        return LocalTeacher(config)
    if kind == "vllm":
        from mwalimu.teachers.vllm import VllmTeacher

        return VllmTeacher(config)
    if kind == "fake":
        from mwalimu.teachers.fake import FakeTeacher

        return FakeTeacher(concurrency=config.concurrency)
    from mwalimu.teachers.served import ServedTeacher

    return ServedTeacher(config, _wire(kind))


def _wire(kind: str) -> Wire:
    if kind == "anthropic":
        from mwalimu.teachers.anthropic_messages import AnthropicMessages

        return AnthropicMessages()
    if kind == "azure":
        from mwalimu.teachers.azure import AzureChat

        return AzureChat()
    from mwalimu.teachers.openai_chat import OpenAIChat

    return OpenAIChat()
