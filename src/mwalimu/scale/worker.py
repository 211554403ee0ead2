"""What runs on a node: a model built there from the config, with the keys found there.

What is expected to go wrong is returned, not raised: Ray would wrap it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

from mwalimu.config import TeacherConfig
from mwalimu.errors import MwalimuError
from mwalimu.scale.exchange import Worker
from mwalimu.teachers.base import Reply, Request, RowError, Teacher, TransientError
from mwalimu.teachers.factory import build_teacher


class TeacherFacts(NamedTuple):
    """What has to be the same on all nodes: who answers, by which version of us."""

    model: str
    version: str

    @classmethod
    def of(cls, teacher: Teacher) -> TeacherFacts:
        return cls(teacher.info.model, metadata.version("mwalimu"))


class TeacherWorker(Worker):
    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.teacher: Teacher | None = None

    @property
    def is_open(self) -> bool:
        return self.teacher is not None

    async def open(self) -> TeacherFacts | Exception:
        """Loads and checks the teacher, once."""
        self.forget()
        try:
            if self.teacher is None:
                teacher = build_teacher(self.config)
                await teacher.check()
                self.teacher = teacher
            return TeacherFacts.of(self.teacher)
        except MwalimuError as error:
            return error

    async def work(self, asked: Sequence[Request]) -> Sequence[Reply] | Exception:
        assert self.teacher is not None
        try:
            return await self.teacher.send(asked)
        except (TransientError, RowError, MwalimuError) as error:
            return error
