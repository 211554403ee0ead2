"""What runs on a node: a model built there from the config, with the keys found there.

What is expected to go wrong is returned, not raised: Ray would wrap it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

from mwalimu.config import Config, TeacherConfig, needed_signals
from mwalimu.data.examples import Example
from mwalimu.errors import MwalimuError
from mwalimu.signals import Encoding, Identity
from mwalimu.synthesis.capture.scorers import model_scorer
from mwalimu.synthesis.capture.scoring import Result, Scorer
from mwalimu.teachers.base import Reply, Request, RowError, Teacher, TransientError
from mwalimu.teachers.factory import build_teacher


class TeacherFacts(NamedTuple):
    """What has to be the same on all nodes: who answers, by which version of us."""

    model: str
    version: str

    @classmethod
    def of(cls, teacher: Teacher) -> TeacherFacts:
        return cls(teacher.info.model, metadata.version("mwalimu"))


class ScorerFacts(NamedTuple):
    identity: Identity
    encodings: dict[str, Encoding]


class TeacherWorker:
    """Ray may make it again, on another node, at any time: then it is not open."""

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.teacher: Teacher | None = None

    async def open(self) -> TeacherFacts | Exception:
        """Loads and checks the teacher, once."""
        try:
            if self.teacher is None:
                teacher = build_teacher(self.config)
                await teacher.check()
                self.teacher = teacher
            return TeacherFacts.of(self.teacher)
        except MwalimuError as error:
            return error

    async def work(self, asked: Sequence[Request]) -> Sequence[Reply] | Exception | None:
        """None where it is not open: then nothing was sent."""
        if self.teacher is None:
            return None
        try:
            return await self.teacher.send(asked)
        except (TransientError, RowError, MwalimuError) as error:
            return error


class ScoringWorker:
    """As `TeacherWorker` is."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scorer: Scorer | None = None

    async def open(self) -> ScorerFacts | Exception:
        try:
            if self.scorer is None:
                self.scorer = await asyncio.to_thread(model_scorer, self.config)
            names = needed_signals(self.config)
            encodings = {name: self.scorer.encoding(name) for name in names}
            return ScorerFacts(self.scorer.identity, encodings)
        except MwalimuError as error:
            return error

    async def work(self, asked: Sequence[Example]) -> list[Result] | Exception | None:
        if self.scorer is None:
            return None
        try:
            return await asyncio.to_thread(self.scorer.score, asked)
        except MwalimuError as error:
            return error
