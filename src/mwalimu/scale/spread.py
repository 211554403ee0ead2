"""Work that writes its own files into a shared run folder, done on several nodes at once.

Who calls `spread` does the same work again afterwards: what a node has done is found done then, so
the folder alone decides, and a run without a cluster goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mwalimu.config import Config
from mwalimu.errors import MwalimuError, RunError
from mwalimu.scale.cluster import Cluster, Need, require_no_secrets

TRIES = 3  # of a piece of work, beside the first, when its node dies


def spread(config: Config, work: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """`work(config, *call)` for each of `calls`, where the config says so: else nothing is done.

    `work` is a function of a module; the run folder lies at the same path on all nodes.

    Raises:
        MwalimuError: what the first that failed raised.
        ConfigError: the config holds a key; and as a `Cluster` does.
    """
    if config.scale.engine == "local" or len(calls) < 2:
        return
    require_no_secrets(config)
    cluster = Cluster(config.scale)
    need = Need(config.scale.cpus_per_worker, config.scale.gpus_per_worker)
    cluster.workers(need)  # refuses what would wait for ever
    task = cluster.ray.remote(_errors_of).options(
        num_cpus=need.cpus,
        num_gpus=need.gpus,
        max_retries=TRIES,
        scheduling_strategy="SPREAD",
    )
    try:
        found = cluster.ray.get([task.remote(work, config, *call) for call in calls])
    except cluster.ray.exceptions.WorkerCrashedError:
        raise RunError(
            f"a piece of its work died {TRIES + 1} times on the nodes",
            where="scale",
            fix="look at Ray's logs of the nodes: it may not fit their memory",
        ) from None
    for error in found:
        if error is not None:
            raise error


def _errors_of(work: Callable[..., None], *arguments: Any) -> MwalimuError | None:
    """What is expected to go wrong is returned: Ray would wrap it."""
    try:
        work(*arguments)
    except MwalimuError as error:
        return error
    return None
