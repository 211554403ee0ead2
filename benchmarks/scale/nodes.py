"""A Ray cluster of several real nodes on this machine, stage 1 as its driver, and how to kill them.

Each node is a raylet with an object store of its own, as on a machine of its own; they share its
cores and its network, so what is measured here is what Ray and we cost, not what a network does.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generation"))

from bench import write_prompts
from processes import Client
from tools import PROMPTS, job_yaml

STORE = 80_000_000  # bytes of a node's object store
ACTOR = b"ray::TeacherWorker"


class Nodes:
    """A head that takes no work and `count` nodes with room for one worker each."""

    def __init__(self, count: int) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.count = count
        self.nodes: list[Any] = []
        self.mend()

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def mend(self) -> None:
        """Another node for each that is missing."""
        while len(self.nodes) < self.count:
            self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE))

    def kill_node(self, number: int) -> None:
        """Without a farewell: raylet and workers."""
        self.cluster.remove_node(self.nodes.pop(number % len(self.nodes)), allow_graceful=False)

    def kill_worker(self, number: int) -> bool:
        """Whether there was one."""
        if not (pids := worker_pids()):
            return False
        with suppress(ProcessLookupError):
            os.kill(pids[number % len(pids)], signal.SIGKILL)
        return True


def worker_pids() -> list[int]:
    """Of the processes below this one that Ray calls by our actor's name."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError), open(f"/proc/{entry.name}/cmdline", "rb") as handle:
                if handle.read().startswith(ACTOR) and _is_below(int(entry.name)):
                    found.append(int(entry.name))
    return sorted(found)


def _is_below(pid: int) -> bool:
    """Not a worker of another cluster on this machine."""
    while pid not in (0, os.getpid()):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:
            pid = int(handle.read().rpartition(")")[2].split()[1])
    return pid != 0


@dataclass(frozen=True)
class Job:
    """`mwalimu generate` over `rows` prompts in `folder`; `scale` is YAML, empty for none."""

    folder: Path
    rows: int
    url: str
    concurrency: int
    scale: str = ""

    def prepare(self) -> None:
        self.folder.mkdir(parents=True)
        write_prompts(self.folder / PROMPTS, self.rows, -1)
        text = job_yaml(self.url, self.concurrency)
        if self.scale:
            text += f"scale: {self.scale}\n"
        (self.folder / "distill.yaml").write_text(text, encoding="utf-8")

    def start(self) -> Client:
        return Client(self.command, self.folder)

    @property
    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "mwalimu", "generate", "distill.yaml", "--run", "run"]

    def digest(self) -> str:
        """Of the rows that it published."""
        return hashlib.sha256((self.folder / "run/generate/train.jsonl").read_bytes()).hexdigest()

    def log(self) -> str:
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-2000:]


def scale_of(nodes: Nodes, workers: int) -> str:
    return f"{{engine: ray, address: '{nodes.address}', workers: {workers}}}"
