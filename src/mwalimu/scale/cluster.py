"""The Ray cluster of this process: found or started, and how many workers it has room for."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from mwalimu.config import ScaleConfig
from mwalimu.errors import ConfigError, MissingDependency

LOOPBACK_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""At 0 the node's address is 127.0.0.1, on any system; Ray reads it when it is imported."""


class Need(NamedTuple):
    """What one worker reserves on its node, logically: Ray counts, it does not fence."""

    cpus: float
    gpus: float

    def fits(self, resources: Mapping[str, float]) -> bool:
        return self.cpus <= resources.get("CPU", 0) and self.gpus <= resources.get("GPU", 0)


def connect(scale: ScaleConfig) -> Any:
    """The module `ray`, connected; once in a process, whose end is the connection's.

    A cluster that is started here listens on the loopback interface alone, wants a token of
    whoever calls, has no dashboard, and tells nobody of its use.

    Raises:
        MissingDependency: the extra `ray` is not installed.
        ConfigError: nothing answers at `scale.address`, or only another version.
    """
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


def workers_of(ray: Any, scale: ScaleConfig, need: Need) -> int:
    """How many workers a teacher gets: as the config says, or as the nodes of now have room for.

    Raises:
        ConfigError: not one node could hold a worker, ever.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    able = [resources for resources in nodes if need.fits(resources)]
    if not able:
        raise ConfigError(
            f"no node of {len(nodes)} has {need.cpus:g} CPUs and {need.gpus:g} GPUs for a worker",
            where="scale",
            fix="lower cpus_per_worker or gpus_per_worker, or start larger nodes",
        )
    if scale.workers is not None:
        return scale.workers
    if not need.gpus:
        return len(able)
    return sum(max(1, int(resources["GPU"] // need.gpus)) for resources in able)


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingDependency(
            "Ray is not installed", where="scale.engine", fix="run: pip install 'mwalimu[ray]'"
        ) from None
