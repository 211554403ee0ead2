"""What runs on a node for a scoring pass; as `worker.py` has it for a teacher that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from mwalimu.config import Config, needed_signals
from mwalimu.data.examples import Example
from mwalimu.errors import MwalimuError
from mwalimu.scale.exchange import Worker
from mwalimu.signals import Encoding, Identity
from mwalimu.synthesis.capture.scorers import model_scorer
from mwalimu.synthesis.capture.scoring import Result, Scorer


class ScorerFacts(NamedTuple):
    identity: Identity
    encodings: dict[str, Encoding]


class ScoringWorker(Worker):
    """As `TeacherWorker` is."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.scorer: Scorer | None = None

    @property
    def is_open(self) -> bool:
        return self.scorer is not None

    async def open(self) -> ScorerFacts | Exception:
        self.forget()
        try:
            if self.scorer is None:
                self.scorer = await asyncio.to_thread(model_scorer, self.config)
            names = needed_signals(self.config)
            encodings = {name: self.scorer.encoding(name) for name in names}
            return ScorerFacts(self.scorer.identity, encodings)
        except MwalimuError as error:
            return error

    async def work(self, asked: Sequence[Example]) -> list[Result] | Exception:
        assert self.scorer is not None
        try:
            return await asyncio.to_thread(self.scorer.score, asked)
        except MwalimuError as error:
            return error
