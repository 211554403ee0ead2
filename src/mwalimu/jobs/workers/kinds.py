"""What each kind of job does."""

from __future__ import annotations

from mwalimu.jobs.records import Job
from mwalimu.jobs.workers.distillation import distil
from mwalimu.jobs.workers.evaluation import evaluate
from mwalimu.jobs.workers.spending import Spending
from mwalimu.jobs.workers.task import Work
from mwalimu.jobs.workspace import Workspace


def work_of(job: Job, workspace: Workspace) -> Work:
    if job.spec.kind == "evaluation":
        return Work(evaluate)
    answers = workspace.job(job.name) / "answers"
    return Work(distil, Spending(answers, workspace.run(job.name)).look)
