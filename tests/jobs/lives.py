"""Workers of real jobs, forked from a process that has imported everything already."""

from __future__ import annotations

import os
from dataclasses import asdict
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from mwalimu.jobs.records import Lease
from mwalimu.jobs.workspace import Workspace
from tests.command import processes


def begin(workspace: Workspace, lease: Lease) -> ForkServerProcess:
    """A worker as `python -m mwalimu.jobs.workers.worker` is one."""
    process = processes().Process(target=live, args=(str(workspace.root), asdict(lease)))
    process.start()
    return process


def live(root: str, lease: dict[str, Any]) -> None:
    import torch

    from mwalimu.jobs.refusals import LostLease
    from mwalimu.jobs.store.job_store import JobStore
    from mwalimu.jobs.workers.kinds import work_of
    from mwalimu.jobs.workers.worker import listen, work

    os.setsid()
    torch.set_num_threads(1)
    workspace = Workspace(Path(root))
    log = workspace.log(lease["job"])
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(lines, stream)
    listen()
    try:
        work(workspace, JobStore(workspace.database), Lease(**lease), work_of)
    except LostLease:
        os._exit(1)
