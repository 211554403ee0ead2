"""What runs on a node: one teacher, built there from the config, with the keys found there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

from mwalimu.config import TeacherConfig
from mwalimu.errors import MwalimuError
from mwalimu.teachers.base import Reply, Request, RowError, Teacher, TransientError
from mwalimu.teachers.factory import build_teacher

Expected = (TransientError, RowError, MwalimuError)
"""What a teacher may raise. It is returned over the wire: Ray would wrap what is raised."""


class Facts(NamedTuple):
    """What has to be the same on all nodes: who answers, by which version of us."""

    model: str
    version: str


class TeacherWorker:
    """Made a Ray actor by the pool. Ray may make it again on another node at any time."""

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.teacher: Teacher | None = None

    async def open(self) -> Facts | Exception:
        """Loads and checks the teacher, once."""
        try:
            if self.teacher is None:
                teacher = build_teacher(self.config)
                await teacher.check()
                self.teacher = teacher
            return facts_of(self.teacher)
        except Expected as error:
            return error

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply] | Exception | None:
        """None where Ray made this worker again since it was opened: then nothing was sent."""
        if self.teacher is None:
            return None
        try:
            return await self.teacher.send(requests)
        except Expected as error:
            return error


def facts_of(teacher: Teacher) -> Facts:
    return Facts(teacher.info.model, metadata.version("mwalimu"))
