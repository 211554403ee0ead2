"""Config -> teacher; each kind is imported where it is used."""

from __future__ import annotations

from mwalimu.config import TeacherConfig
from mwalimu.teachers.base import Teacher


def build_teacher(config: TeacherConfig) -> Teacher:
    """Raises TeacherError kinds when the teacher cannot be had at all."""
    kind = config.resolved_kind
    if kind == "openai_compatible":
        from mwalimu.teachers.openai_compatible import OpenAICompatibleTeacher

        return OpenAICompatibleTeacher(config)
    if kind == "local":
        from mwalimu.teachers.local import LocalTeacher

        return LocalTeacher(config)
    from mwalimu.teachers.fake import FakeTeacher

    return FakeTeacher(concurrency=config.concurrency)
