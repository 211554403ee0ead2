"""What the store promises, said once more without a database: the reference of its proofs.

Written from docs/service.md and the promises of JobStore, not from its statements. Each method
says what the store has to answer: a value, or the name of a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

LEGAL = {
    ("NotStarted", "Queued"),
    ("NotStarted", "Canceled"),
    ("Queued", "Starting"),
    ("Queued", "Canceled"),
    ("Queued", "Paused"),
    ("Starting", "Preparing"),
    ("Preparing", "Running"),
    ("Running", "Finalizing"),
    ("Finalizing", "Completed"),
    *((s, "Failed") for s in ("Starting", "Preparing", "Running", "Finalizing")),
    *((s, "CancelRequested") for s in ("Starting", "Preparing", "Running", "Finalizing")),
    *((s, "PauseRequested") for s in ("Starting", "Preparing", "Running", "Finalizing")),
    *((s, "NotResponding") for s in ("Starting", "Preparing", "Running", "Finalizing")),
    *(("CancelRequested", s) for s in ("Canceled", "Completed", "Failed")),
    *(("PauseRequested", s) for s in ("Paused", "Completed", "Failed", "CancelRequested")),
    ("NotResponding", "Queued"),
    ("NotResponding", "Failed"),
    *((s, "Queued") for s in ("Paused", "Failed", "Canceled")),
    ("Paused", "Canceled"),
}
STEPS = ("Starting", "Preparing", "Running", "Finalizing", "Completed")
ENDS = ("Completed", "Failed", "Canceled", "Paused")
OVER = ("Completed", "Failed", "Canceled")


@dataclass
class Limits:
    waiting: float = inf
    running: float = inf
    usd: float = inf


@dataclass
class Held:
    token: str
    slot: str
    renewed: float
    lasts: float

    @property
    def until(self) -> float:
        return self.renewed + self.lasts

    def holds(self, now: float) -> bool:
        """The clock of leases goes back only where the machine starts anew."""
        return 0 <= now - self.renewed <= self.lasts


@dataclass
class Job:
    owner: str
    priority: int
    resource: str
    budget: float | None
    came: int
    state: str = "Queued"
    attempts: int = 0
    vanished: int = 0
    began: bool = False
    spent: float | None = None
    stages: set[str] = field(default_factory=set)
    held: Held | None = None

    def money(self) -> float:
        known = self.budget if self.spent is None else self.spent
        if self.state in OVER:
            return (known or 0) if self.began else 0
        return max(self.budget or 0, self.spent or 0)


@dataclass
class QueueModel:
    limits: dict[str, Limits]
    queue: int
    lease_s: float
    most: int
    jobs: dict[str, Job] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)  # spent by deleted jobs, by owner
    came: int = 0

    def submit(
        self,
        name: str,
        owner: str,
        priority: int,
        resource: str,
        budget: float | None,
        key: str | None,
    ) -> str:
        if key is not None and (before := self.keys.get((owner, key))):
            job = self.jobs[before]
            same = (job.priority, job.resource, job.budget) == (priority, resource, budget)
            return before if same else "WrongState"
        if name in self.jobs:
            return "WrongState"
        job = Job(owner, priority, resource, budget, self.came)
        if refusal := self._no_room(name, job):
            return refusal
        self.came += 1
        self.jobs[name] = job
        if key is not None:
            self.keys[owner, key] = name
        return name

    def claim(self, slot: str, resource: str, token: str | None, now: float) -> str | None:
        """Which job it has to be; `token` is what the store drew."""
        if any(job.held and job.held.slot == slot for job in self.jobs.values()):
            return None
        line = [
            (-job.priority, job.came, name)
            for name, job in self.jobs.items()
            if job.state == "Queued"
            and job.resource == resource
            and self._running(job.owner) < self.limits[job.owner].running
        ]
        if not line:
            return None
        name = min(line)[2]
        job = self.jobs[name]
        job.state, job.began, job.attempts = "Starting", True, job.attempts + 1
        job.held = Held(token or "", slot, now, self.lease_s)
        return name

    def heartbeat(self, name: str, token: str, now: float) -> str:
        job = self._with(name, token, now)
        if job is None or job.held is None:
            return "LostLease"
        job.held.renewed = now
        return job.state

    def advance(self, name: str, token: str, state: str, now: float) -> str | None:
        job = self._with(name, token, now)
        if job is None:
            return "LostLease"
        if state not in STEPS[1:] + ENDS:
            return "WrongState"
        if job.state.endswith("Requested") and state not in ENDS:
            return None
        if (job.state, state) not in LEGAL:
            return "WrongState"
        self._become(job, state)
        return None

    def report(self, name: str, token: str, stage: str, now: float) -> str | None:
        job = self._with(name, token, now)
        if job is None:
            return "LostLease"
        if stage not in job.stages:
            job.stages.add(stage)
            job.vanished = 0
        return None

    def spend(self, name: str, token: str, usd: float | None, now: float) -> str | None:
        job = self._with(name, token, now)
        if job is None:
            return "LostLease"
        job.spent = usd
        return None

    def give_back(self, name: str, token: str, now: float) -> str | None:
        job = self._with(name, token, now)
        if job is None:
            return "LostLease"
        job.attempts -= 1
        self._stopped_or(job, "Queued")
        return None

    def take_back_of(self, name: str, token: str) -> bool:
        job = self.jobs.get(name)
        if job is None or job.held is None or job.held.token != token:
            return False
        self._lost(job)
        return True

    def take_back(self, now: float) -> set[str]:
        late = {n for n, job in self.jobs.items() if job.held and not job.held.holds(now)}
        for name in late:
            self._lost(self.jobs[name])
        return late

    def stop(self, name: str, asked: str, at_once: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        if job.state in (asked, at_once):
            return job.state
        state = asked if job.held else at_once
        if (job.state, state) not in LEGAL:
            return "WrongState"
        self._become(job, state)
        return state

    def resume(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        if job.state not in ("Paused", "Failed", "Canceled"):
            return "WrongState"
        before = job.state
        job.state = "Queued"
        job.state, refusal = before, self._no_room(name, job)
        if refusal:
            return refusal
        job.state, job.attempts, job.vanished = "Queued", 0, 0
        return "Queued"

    def delete(self, name: str) -> str | None:
        job = self.jobs.get(name)
        if job is None:
            return "JobNotFound"
        if job.held:
            return "WrongState"
        job.state = "Canceled"
        self.gone[job.owner] = self.gone.get(job.owner, 0) + job.money()
        del self.jobs[name]
        self.keys = {key: of for key, of in self.keys.items() if of != name}
        return None

    def lasting(self) -> list[float]:
        """Until when each lease does."""
        return sorted(job.held.until for job in self.jobs.values() if job.held)

    def usd(self, owner: str) -> float:
        of_jobs = sum(job.money() for job in self.jobs.values() if job.owner == owner)
        return of_jobs + self.gone.get(owner, 0)

    def _with(self, name: str, token: str, now: float) -> Job | None:
        job = self.jobs.get(name)
        held = job and job.held
        return job if held and held.token == token and held.holds(now) else None

    def _running(self, owner: str) -> int:
        return sum(1 for job in self.jobs.values() if job.held and job.owner == owner)

    def _no_room(self, name: str, job: Job) -> str | None:
        """As if it were waiting already."""
        waiting = Job(job.owner, 0, "", job.budget, 0, spent=job.spent, began=job.began)
        others = [other for of, other in self.jobs.items() if of != name] + [waiting]
        queued = [other for other in others if other.state == "Queued"]
        limits = self.limits[job.owner]
        own = [other for other in others if other.owner == job.owner]
        if len(queued) > self.queue:
            return "QuotaReached"
        if sum(1 for other in queued if other.owner == job.owner) > limits.waiting:
            return "QuotaReached"
        if limits.usd < inf and job.budget is None:
            return "ConfigError"
        if sum(other.money() for other in own) + self.gone.get(job.owner, 0) > limits.usd:
            return "QuotaReached"
        return None

    def _lost(self, job: Job) -> None:
        job.vanished += 1
        self._stopped_or(job, "Queued" if job.vanished < self.most else "Failed")

    def _stopped_or(self, job: Job, state: str) -> None:
        asked = {"CancelRequested": "Canceled", "PauseRequested": "Paused"}
        self._become(job, asked.get(job.state, state))

    def _become(self, job: Job, state: str) -> None:
        job.state = state
        if state in ENDS or state == "Queued":
            job.held = None
