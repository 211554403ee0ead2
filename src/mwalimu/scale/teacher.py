"""A teacher whose requests go out from other machines.

To the engine it is a teacher like any other: the driver still owns the store, the journal, the
budget, the limiter and the retries. A worker that dies in the middle is an answer that may or may
not have been paid for, as a connection that broke is.
"""

from __future__ import annotations

from collections.abc import Sequence

from mwalimu.config import ScaleConfig, TeacherConfig
from mwalimu.errors import ConfigError
from mwalimu.scale.cluster import Cluster, Need
from mwalimu.scale.pool import Pool
from mwalimu.scale.worker import TeacherFacts, TeacherWorker
from mwalimu.teachers.base import Completion, Reply, Request
from mwalimu.teachers.factory import Build, build_teacher


def builder_of(scale: ScaleConfig) -> Build:
    """How the teachers of a run are built: here, or on the cluster."""
    if scale.engine == "local":
        return build_teacher
    return lambda config: RayTeacher(config, scale)


class RayTeacher:
    """`twin` is the same teacher in this process: it reads answers and is never asked anything."""

    def __init__(self, config: TeacherConfig, scale: ScaleConfig) -> None:
        """Raises ConfigError, MissingDependency: as a `Cluster` does."""
        self.config = config
        self.twin = build_teacher(config)
        self.info = self.twin.info
        self.capabilities = self.twin.capabilities
        self.batch_size = self.twin.batch_size
        self._cluster = Cluster(scale)
        self._need = Need(scale.cpus_per_worker, 0.0 if config.remote else scale.gpus_per_worker)
        self._workers = self._cluster.workers(self._need)
        self.concurrency = self._workers * self.twin.concurrency
        self._pool: Pool | None = None

    async def check(self) -> None:
        """Starts the workers, each of which loads and checks its own teacher.

        Raises:
            ConfigError: a node has another version of mwalimu, or another model.
            TeacherError: the teacher cannot be used from a node.
        """
        self._pool = self._cluster.pool(
            TeacherWorker,
            self.config,
            need=self._need,
            workers=self._workers,
            places=self.twin.concurrency,
            away_s=self.config.outage_s,
        )
        facts: TeacherFacts = await self._pool.open()
        self.info.model = facts.model
        _require_ours(facts, TeacherFacts.of(self.twin))

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        assert self._pool is not None
        replies: Sequence[Reply] = await self._pool.call(requests)
        return replies

    def parse(self, raw: bytes) -> Completion:
        return self.twin.parse(raw)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        await self.twin.close()


def _require_ours(facts: TeacherFacts, ours: TeacherFacts) -> None:
    if facts.version != ours.version:
        raise ConfigError(
            f"the nodes have mwalimu {facts.version}, this process {ours.version}",
            where="scale",
            fix="install the same version on all of them",
        )
