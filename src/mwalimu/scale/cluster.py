"""The Ray cluster of this process: found or started, and how many workers it has room for."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mwalimu.config import ScaleConfig, holds_secrets
from mwalimu.config.section import Section
from mwalimu.errors import ConfigError, MissingDependency
from mwalimu.scale.exchange import AT_ONCE
from mwalimu.scale.pool import Pool

CALLS = AT_ONCE + 2  # of a worker at once: it may have to be asked to open meanwhile
LOOPBACK_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""At 0 the node's address is 127.0.0.1, on any system; Ray reads it when it is imported."""


class Need(NamedTuple):
    """What one worker reserves on its node, logically: Ray counts, it does not fence."""

    cpus: float
    gpus: float

    def fits(self, resources: Mapping[str, float]) -> bool:
        return self.cpus <= resources.get("CPU", 0) and self.gpus <= resources.get("GPU", 0)


class Cluster:
    """The one of `scale`, joined or started; once in a process, whose end is the connection's.

    One that is started here listens on the loopback interface alone, wants a token of whoever
    calls, has no dashboard, and tells nobody of its use.
    """

    def __init__(self, scale: ScaleConfig) -> None:
        """Raises:
        MissingDependency: the extra `ray` is not installed.
        ConfigError: nothing answers at `scale.address`, or only another version.
        """
        self.scale = scale
        self.ray = _connected(scale)

    def workers(self, need: Need) -> int:
        """How many a teacher gets: as the config says, or as the nodes of now have room for.

        Raises:
            ConfigError: not one node could hold a worker, ever.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        able = [resources for resources in nodes if need.fits(resources)]
        if not able:
            raise ConfigError(
                f"no node of {len(nodes)} has {need.cpus:g} CPUs and {need.gpus:g} GPUs for a "
                "worker",
                where="scale",
                fix="lower cpus_per_worker or gpus_per_worker, or start larger nodes",
            )
        if self.scale.workers is not None:
            return self.scale.workers
        if not need.gpus:
            return len(able)
        return sum(max(1, int(resources["GPU"] // need.gpus)) for resources in able)

    def pool(
        self,
        worker: type,
        config: Section,
        *,
        need: Need,
        workers: int,
        places: int,
        away_s: float,
    ) -> Pool:
        """Of `workers` actors of the class `worker`, each made from `config` alone.

        Ray makes an actor again as often as it dies, and repeats no call by itself.

        Raises:
            ConfigError: `config` holds a key.
        """
        require_no_secrets(config)
        actor = self.ray.remote(worker).options(
            num_cpus=need.cpus,
            num_gpus=need.gpus,
            max_concurrency=CALLS,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        errors = self.ray.exceptions
        return Pool(
            lambda: actor.remote(config),
            self.ray.kill,
            workers=workers,
            places=places,
            lost=(errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError),
            away_s=away_s,
        )

    def host(self, actor: type, need: Need) -> Callable[..., Any]:
        """Makes actors of the class `actor` on whatever node has room, that Ray never makes again.

        They wait where no node has room now.
        """
        self.workers(need)  # refuses what would wait for ever
        made = self.ray.remote(actor).options(
            num_cpus=need.cpus,
            num_gpus=need.gpus,
            max_concurrency=CALLS,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        make: Callable[..., Any] = made.remote
        return make


def require_no_secrets(config: Section) -> None:
    """What is handed to Ray passes its stores, and its tools may show it. Raises ConfigError."""
    if holds_secrets(config):
        raise ConfigError(
            "a key in an address or an extra_body of the config would be handed to Ray",
            where="scale",
            fix="put it into the nodes' environment and name the variable in api_key_env",
        )


def _connected(scale: ScaleConfig) -> Any:
    """The module `ray`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if scale.address is None:
        os.environ.setdefault(LOOPBACK_ALONE, "0")
    ray = _import_ray()
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if scale.address is None:
        ray.init(address="local", include_dashboard=False, **quiet)
        return ray
    try:
        ray.init(address=scale.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(
            f"no Ray cluster can be joined there ({reason})",
            where="scale.address",
            fix="start one with 'ray start --head', or leave the address out",
        ) from None
    return ray


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingDependency(
            "Ray is not installed", where="scale.engine", fix="run: pip install 'mwalimu[ray]'"
        ) from None
