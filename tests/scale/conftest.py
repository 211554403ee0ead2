"""A Ray cluster of several nodes on this machine, for the tests that need a real one."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.jobs.waiting import wait_for

STORE = 80_000_000  # bytes of a node's object store
QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}
"""A node has died that missed three looks in half a second each; Ray's own are five in three."""


class Nodes:
    """A head that takes no work and `count` nodes of two logical CPUs each."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        head: dict[str, Any] = {"num_cpus": 0, "object_store_memory": STORE}
        head |= {"include_dashboard": False, "_system_config": QUICK}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.count = count
        self.nodes: list[Any] = []
        self.mend()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def kill_node(self) -> None:
        """With all its workers, as a power cut does."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)

    def kill_node_of(self, raylet: int) -> None:
        """The one whose raylet has this pid."""
        number = next(n for n, node in enumerate(self.nodes) if raylet in _pids(node))
        self.cluster.remove_node(self.nodes.pop(number), allow_graceful=False)

    def mend(self) -> None:
        """Another for each that was killed; Ray wants this from the main thread."""
        while len(self.nodes) < self.count:
            self.nodes.append(self.cluster.add_node(num_cpus=2, object_store_memory=STORE))

    def kill_worker(self) -> None:
        """One that has a teacher."""
        (pid, *_) = wait_for(worker_pids)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


def _pids(node: Any) -> list[int]:
    return [info.process.pid for infos in node.all_processes.values() for info in infos]


def worker_pids() -> list[int]:
    """Of the processes below this one that Ray calls by our actor's name."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError), open(f"/proc/{entry.name}/cmdline", "rb") as handle:
                if handle.read().startswith(b"ray::TeacherWorker") and _is_below(int(entry.name)):
                    found.append(int(entry.name))
    return sorted(found)


def _is_below(pid: int) -> bool:
    """Not a worker of another cluster on this machine."""
    while pid not in (0, os.getpid()):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:
            pid = int(handle.read().rpartition(")")[2].split()[1])
    return pid != 0


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, while it starts
        cluster = Nodes(2)
    yield cluster
    cluster.close()
