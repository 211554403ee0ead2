"""A scoring pass whose batches are read by models on other machines.

Scoring buys nothing and depends on its rows alone, so what a dying node took with it is done again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from mwalimu.config import Config, ScaleConfig
from mwalimu.data.examples import Example
from mwalimu.errors import TeacherUnreachable
from mwalimu.scale.cluster import Cluster, Need
from mwalimu.scale.pool import Pool
from mwalimu.scale.scoring_worker import ScorerFacts, ScoringWorker
from mwalimu.signals import Encoding
from mwalimu.synthesis.capture.scorers import model_scorer
from mwalimu.synthesis.capture.scoring import Result, Scorer
from mwalimu.teachers.base import TransientError

TRIES = 4  # of a batch: one that kills its worker is not read for ever
AHEAD = 2  # batches a worker: one is read while the next is on its way


def scorer_builder_of(scale: ScaleConfig) -> Callable[[Config], Scorer]:
    """How a scorer with a model of its own is made: here, or on the cluster."""
    if scale.engine == "local":
        return model_scorer
    return lambda config: RayScorer(config, scale)


class RayScorer:
    """Workers as of a teacher. Each reads whole batches, as the scorer of this machine would."""

    def __init__(self, config: Config, scale: ScaleConfig) -> None:
        """Raises ConfigError, MissingDependency: as a `Cluster` does; TeacherError kinds."""
        cluster = Cluster(scale)
        need = Need(scale.cpus_per_worker, scale.gpus_per_worker)
        self._workers = cluster.workers(need)
        self._loop = asyncio.new_event_loop()
        self._pool = self._loop.run_until_complete(
            _opened(cluster, config, need=need, workers=self._workers)
        )
        facts: ScorerFacts = self._pool.facts
        self.identity = facts.identity
        self._encodings = facts.encodings

    def encoding(self, name: str) -> Encoding:
        return self._encodings[name]

    def score(self, examples: Sequence[Example]) -> list[Result]:
        return next(self.score_all([examples]))

    def score_all(self, batches: Iterable[Sequence[Example]]) -> Iterator[list[Result]]:
        under_way: deque[asyncio.Task[list[Result]]] = deque()
        for batch in batches:
            under_way.append(self._loop.create_task(self._scored(batch)))
            if len(under_way) == AHEAD * self._workers:
                yield self._loop.run_until_complete(under_way.popleft())
        while under_way:
            yield self._loop.run_until_complete(under_way.popleft())

    def close(self) -> None:
        self._loop.run_until_complete(self._pool.close())
        self._loop.close()

    async def _scored(self, batch: Sequence[Example]) -> list[Result]:
        if not batch:
            return []
        reason = ""
        for _ in range(TRIES):
            try:
                results: list[Result] = await self._pool.call(batch)
                return results
            except TransientError as error:
                reason = error.reason
        raise TeacherUnreachable(
            f"{TRIES} tries to score a batch of {len(batch)} rows ended without it ({reason})",
            where="scale",
            fix="look at Ray's logs of the nodes: the batch may not fit their memory",
        )


async def _opened(cluster: Cluster, config: Config, *, need: Need, workers: int) -> Pool:
    """Nothing but the teacher is scored with: the judges' sections stay here."""
    alone = config.model_copy(update={"ensemble": None, "judge": None})
    pool = cluster.pool(
        ScoringWorker,
        alone,
        need=need,
        workers=workers,
        places=1,
        away_s=config.teacher.outage_s,
    )
    await pool.open()
    return pool
