"""A teacher whose requests go out from other machines.

To the engine it is a teacher like any other: the driver still owns the store, the journal, the
budget, the limiter and the retries. A worker that dies in the middle is an answer that may or may
not have been paid for, as a connection that broke is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mwalimu.config import ScaleConfig, TeacherConfig, holds_secrets
from mwalimu.errors import ConfigError
from mwalimu.scale.cluster import Need, connect, workers_of
from mwalimu.scale.pool import Pool
from mwalimu.scale.worker import Facts, TeacherWorker, facts_of
from mwalimu.teachers.base import Completion, Reply, Request
from mwalimu.teachers.factory import Build, build_teacher

CALLS_BESIDE = 2  # of a worker, beside those at its places: it has to be asked to open meanwhile


def builder_of(scale: ScaleConfig) -> Build:
    """How the teachers of a run are built: here, or on the cluster."""
    if scale.engine == "local":
        return build_teacher
    return lambda config: RayTeacher(config, scale)


class RayTeacher:
    """`twin` is the same teacher in this process: it reads answers and is never asked anything."""

    def __init__(self, config: TeacherConfig, scale: ScaleConfig) -> None:
        """Raises ConfigError: the config holds a key; and as `connect` and `workers_of` do."""
        _require_no_secrets(config)
        self.config = config
        self.scale = scale
        self.twin = build_teacher(config)
        self.info = self.twin.info
        self.capabilities = self.twin.capabilities
        self.batch_size = self.twin.batch_size
        self._need = Need(scale.cpus_per_worker, 0.0 if config.remote else scale.gpus_per_worker)
        self._ray = connect(scale)
        self._workers = workers_of(self._ray, scale, self._need)
        self.concurrency = self._workers * self.twin.concurrency
        self._pool: Pool | None = None

    async def check(self) -> None:
        """Starts the workers, each of which loads and checks its own teacher.

        Raises:
            ConfigError: a node has another version of mwalimu, or another model.
            TeacherError: the teacher cannot be used from a node.
        """
        errors = self._ray.exceptions
        self._pool = Pool(
            self._start,
            workers=self._workers,
            places=self.twin.concurrency,
            lost=(errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError),
            away_s=self.config.outage_s,
        )
        facts = await self._pool.open()
        self.info.model = facts.model
        _require_ours(facts, facts_of(self.twin))

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        assert self._pool is not None
        return await self._pool.call(requests)

    def parse(self, raw: bytes) -> Completion:
        return self.twin.parse(raw)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close(self._ray.kill)
        await self.twin.close()

    def _start(self) -> Any:
        """Ray makes it again as often as it dies; it repeats no call by itself."""
        actor = self._ray.remote(TeacherWorker).options(
            num_cpus=self._need.cpus,
            num_gpus=self._need.gpus,
            max_concurrency=self.twin.concurrency + CALLS_BESIDE,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        return actor.remote(self.config)


def _require_no_secrets(config: TeacherConfig) -> None:
    """What is handed to Ray passes its stores and may be shown by its tools."""
    if holds_secrets(config):
        raise ConfigError(
            f"{config.model} has a key in its address or extra_body, which would be handed to Ray",
            where="scale",
            fix="put it into the nodes' environment and name the variable in api_key_env",
        )


def _require_ours(facts: Facts, ours: Facts) -> None:
    if facts.version != ours.version:
        raise ConfigError(
            f"the nodes have mwalimu {facts.version}, this process {ours.version}",
            where="scale",
            fix="install the same version on all of them",
        )
