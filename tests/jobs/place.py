"""A workspace with a tiny student and rows in it, and workers that are called by hand."""

from __future__ import annotations

import json
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from mwalimu.jobs.records import Job, Spec
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workspace import Workspace
from tests.jobs.lives import begin

NAMES = ("tiny-distilled", "tiny-baseline")


class Place:
    def __init__(self, root: Path, student: Path) -> None:
        self.workspace = Workspace(root)
        # On a busy machine the first worker is forked late, and no server takes its job back.
        self.store = JobStore(self.workspace.database, max_attempts=1000, lease_s=600)
        self.models = ModelStore(self.store.database)
        self.student = student
        for split in ("train", "test"):
            path = self.workspace.datasets / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row(split, n)) + "\n" for n in range(12)))

    def config(self, **more: Any) -> dict[str, Any]:
        return {
            "task": "qa",
            "data": {
                split: str(self.workspace.root.absolute() / "datasets" / f"{split}.jsonl")
                for split in ("train", "test")
            },
            "teacher": {"model": "fake"},
            "student": {"model": str(self.student), "method": "full"},
            "finetune": {"epochs": 2, "batch_size": 4, "save_every": 1},
            "evaluate": {"arms": ["before", "distilled"], "max_tokens": 6, "bootstrap": 100},
        } | more

    def submit(self, *, name: str | None = None, **more: Any) -> Job:
        spec = Spec("distillation", self.config(**more), registers=NAMES)
        return self.store.submit(spec, owner="amina", name=name)

    def work(self) -> ForkServerProcess:
        """A worker on the job that waits."""
        lease = self.store.claim("cpu-0", "cpu")
        assert lease is not None
        return begin(self.workspace, lease)

    def ended(self, name: str) -> Job:
        worker = self.work()
        worker.join(60)
        assert worker.exitcode == 0, self.log(name)
        return self.store.get(name)

    def log(self, name: str) -> str:
        return self.workspace.log(name).read_text()


def row(split: str, number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{split} {number}?"}]
    if split == "test":
        messages.append({"role": "assistant", "content": f"yes {number}"})
    return {"id": f"{split}{number}", "messages": messages}
