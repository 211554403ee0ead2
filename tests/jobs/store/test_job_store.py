from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Event, Lease, Spec
from mwalimu.jobs.refusals import JobNotFound, LostLease, WrongState
from mwalimu.jobs.states import ENDED, FOLLOWS, State
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.job_store import DAY_S, LEASE_S, MAX_ATTEMPTS, JobStore
from mwalimu.jobs.store.models import ModelStore
from tests.jobs.clock import Clock
from tests.jobs.queue_model import LEGAL

PATH = [State.PREPARING, State.RUNNING, State.FINALIZING, State.COMPLETED]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> JobStore:
    return JobStore(tmp_path / "service.db", clock=clock, monotonic=clock, retention_days=30)


def submit(store: JobStore, name: str, *, owner: str = "asha", **spec: Any) -> None:
    store.submit(Spec("distillation", {"task": "nli"}, **spec), owner=owner, name=name)


def claimed(store: JobStore, slot: str = "cpu:0") -> Lease:
    lease = store.claim(slot, "cpu")
    assert lease
    return lease


def states(events: list[Event]) -> list[str]:
    return [event.data["state"] for event in events if event.kind == "state"]


def test_the_table_is_the_models() -> None:
    assert {(before, after) for before, next in FOLLOWS.items() for after in next} == LEGAL


def test_a_job_from_submit_to_its_end(store: JobStore, clock: Clock) -> None:
    submit(store, "j", tags={"team": "edge"}, registers=("m", "b"), uses=())
    clock.now += 1
    lease = claimed(store)
    for state in PATH[:-1]:
        store.advance(lease, state)
    clock.now += 1
    store.advance(lease, State.COMPLETED, summary={"accuracy": 0.9}, spent_usd=0.25)
    job = store.get("j")
    assert job.state is State.COMPLETED and job.attempts == 1
    assert (job.created, job.started, job.ended) == (1000, 1001, 1002)
    assert (job.summary, job.spent_usd, job.error) == ({"accuracy": 0.9}, 0.25, None)
    assert job.spec == Spec(
        "distillation", {"task": "nli"}, tags={"team": "edge"}, registers=("m", "b")
    )
    assert states(store.events(job="j")) == ["Queued", "Starting", *PATH]
    assert store.leases() == []


def test_the_line_is_by_priority_then_by_coming(store: JobStore) -> None:
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        submit(store, name, priority=priority)
    assert [claimed(store, f"cpu:{n}").job for n in range(4)] == ["b", "d", "a", "c"]


def test_a_slot_has_one_job_and_takes_its_own_kind(store: JobStore) -> None:
    submit(store, "a", resource="gpu")
    submit(store, "b")
    assert claimed(store).job == "b"
    submit(store, "c")
    assert store.claim("cpu:0", "cpu") is None
    assert claimed(store, "cpu:1").job == "c"
    assert store.claim("cpu:2", "cpu") is None


@pytest.mark.parametrize("late", [False, True])
def test_a_lease_is_held_by_its_heartbeat(store: JobStore, clock: Clock, late: bool) -> None:
    submit(store, "j")
    lease = claimed(store)
    for _ in range(5):
        clock.now += LEASE_S
        assert store.heartbeat(lease) is State.STARTING
    clock.now += LEASE_S + (0.001 if late else 0)
    assert store.take_back() == (["j"] if late else [])
    assert store.get("j").state is (State.QUEUED if late else State.STARTING)


@pytest.mark.parametrize("jump", [-10 * DAY_S, 10 * DAY_S])
def test_a_clock_that_is_set_ends_no_lease_and_keeps_none(tmp_path: Path, jump: float) -> None:
    """Two processes at the file, of which the second sees the jump first."""
    wall, ticks = Clock(1e9), Clock(50.0)
    store, other = (
        JobStore(tmp_path / "service.db", clock=wall, monotonic=ticks) for _ in range(2)
    )
    submit(store, "j")
    lease = claimed(store)
    for _ in range(3):
        wall.now += jump
        ticks.now += LEASE_S
        assert other.take_back() == []
        assert store.heartbeat(lease) is State.STARTING
    ticks.now += LEASE_S + 0.001
    assert other.take_back() == ["j"]
    assert store.claim("cpu:1", "cpu") is not None


def test_no_lease_outlives_the_machine(tmp_path: Path) -> None:
    """Its monotonic clock begins anew; a lease of before may seem to last for days."""
    ticks = Clock(20 * DAY_S)
    store = JobStore(tmp_path / "service.db", monotonic=ticks)
    submit(store, "j")
    lease = claimed(store)
    ticks.now = 3.0
    with pytest.raises(LostLease):
        store.heartbeat(lease)
    assert store.take_back() == ["j"]


def _says(store: JobStore, lease: Lease) -> list[Any]:
    return [
        lambda: store.heartbeat(lease),
        lambda: store.advance(lease, State.PREPARING),
        lambda: store.report(lease, "progress", {"stage": "generate"}),
        lambda: store.give_back(lease),
    ]


def test_a_lost_lease_says_nothing_more(store: JobStore, clock: Clock) -> None:
    """Late, taken back, and given to another: each is refused, and nothing has changed."""
    submit(store, "j")
    old = claimed(store)
    clock.now += LEASE_S + 1
    for step in ("late", "taken back", "another's"):
        if step == "taken back":
            assert store.take_back_of(old)
        if step == "another's":
            assert claimed(store).token != old.token
        before = store.get("j"), store.events()
        for says in _says(store, old):
            with pytest.raises(LostLease):
                says()
        assert (store.get("j"), store.events()) == before
    assert not store.take_back_of(old)


@pytest.mark.parametrize("state", sorted(set(State)))
def test_a_worker_takes_only_the_steps_of_the_table(store: JobStore, state: State) -> None:
    workers = {State.PREPARING, State.RUNNING, State.FINALIZING, *ENDED}
    submit(store, "j")
    lease = claimed(store)
    if state in workers & FOLLOWS[State.STARTING]:
        store.advance(lease, state)
        assert store.get("j").state is state
    else:
        with pytest.raises(WrongState):
            store.advance(lease, state)
        assert store.get("j").state is State.STARTING


def test_a_job_is_given_up_when_workers_vanish_at_one_stage(store: JobStore) -> None:
    submit(store, "j")
    for _ in range(MAX_ATTEMPTS):
        assert store.get("j").state is State.QUEUED
        lease = claimed(store)
        store.report(lease, "progress", {"stage": "generate", "done": 1})
        assert store.take_back_of(lease)
    job = store.get("j")
    assert job.state is State.FAILED and job.error
    assert job.error["what"] == "its worker vanished too often"
    assert store.resume("j").attempts == 0 and store.get("j").error is None
    for _ in range(MAX_ATTEMPTS - 1):
        store.take_back_of(claimed(store))
    assert store.get("j").state is State.QUEUED


def test_a_worker_that_vanished_after_a_stage_does_not_count(store: JobStore) -> None:
    submit(store, "j")
    for stage in ("generate", "finetune", "evaluate", "report"):
        for _ in range(MAX_ATTEMPTS - 1):
            lease = claimed(store)
            store.report(lease, "progress", {"stage": stage, "done": 1})
            store.take_back_of(lease)
    assert store.get("j").state is State.QUEUED
    assert store.get("j").attempts == 4 * (MAX_ATTEMPTS - 1)


def test_who_gives_back_is_not_counted(store: JobStore) -> None:
    submit(store, "j")
    for _ in range(2 * MAX_ATTEMPTS):
        lease = claimed(store)
        store.advance(lease, State.PREPARING)
        store.give_back(lease)
    assert (store.get("j").state, store.get("j").attempts) == (State.QUEUED, 0)


@pytest.mark.parametrize(
    ("ask", "requested", "end"),
    [
        ("cancel", State.CANCEL_REQUESTED, State.CANCELED),
        ("pause", State.PAUSE_REQUESTED, State.PAUSED),
    ],
)
def test_a_stop_is_at_once_or_by_the_worker(
    store: JobStore, clock: Clock, ask: str, requested: State, end: State
) -> None:
    for name in ("waits", "ends", "vanishes", "gives back", "finishes"):
        submit(store, name.replace(" ", "-"))
    asked = getattr(store, ask)
    leases = {name: claimed(store, f"cpu:{n}") for n, name in enumerate(["w", "e", "v", "g", "f"])}
    store.give_back(leases.pop("w"))
    assert asked("waits").state is end
    for lease in leases.values():
        assert asked(lease.job).state is requested
        assert asked(lease.job).state is requested
        assert store.heartbeat(lease) is requested
        store.advance(lease, State.PREPARING)
        assert store.get(lease.job).state is requested
    store.advance(leases["e"], end)
    store.give_back(leases["g"])
    store.advance(leases["f"], State.COMPLETED)
    clock.now += LEASE_S + 1
    assert store.take_back() == ["vanishes"]
    found = {job.name: job.state for job in store.jobs()}
    assert found == dict.fromkeys(("waits", "ends", "vanishes", "gives-back"), end) | {
        "finishes": State.COMPLETED
    }


def test_resume_only_from_an_end_that_is_short(store: JobStore) -> None:
    submit(store, "j")
    with pytest.raises(WrongState, match="j: is Queued, and cannot become Queued"):
        store.resume("j")
    store.cancel("j")
    assert store.resume("j").state is State.QUEUED and store.get("j").ended is None
    lease = claimed(store)
    for state in PATH:
        store.advance(lease, state)
    with pytest.raises(WrongState):
        store.resume("j")
    with pytest.raises(JobNotFound):
        store.resume("nothing")


def test_pages_leave_no_job_out_even_if_the_clock_stands_still(
    store: JobStore, clock: Clock
) -> None:
    for number in range(25):
        submit(store, f"j{number}")
        clock.now -= number % 2  # or goes back
    seen: list[str] = []
    before = None
    while page := store.jobs(limit=4, before=before):
        seen += [job.name for job in page]
        before = page[-1].created
    assert seen == [f"j{number}" for number in reversed(range(25))]
    assert [claimed(store, str(number)).job for number in range(25)] == seen[::-1]


def test_lists_are_filtered(store: JobStore) -> None:
    submit(store, "a")
    submit(store, "b", owner="juma")
    store.submit(Spec("evaluation", {}), owner="juma", name="c")
    store.cancel("a")
    assert [job.name for job in store.jobs(owner="juma")] == ["c", "b"]
    assert [job.name for job in store.jobs(state=State.CANCELED)] == ["a"]
    assert [job.name for job in store.jobs(kind="evaluation")] == ["c"]
    assert [job.name for job in store.jobs(kind="evaluation", owner="asha")] == []


def test_names_are_taken_by_jobs_and_by_the_jobs_of_models(store: JobStore) -> None:
    submit(store, "j")
    with pytest.raises(WrongState, match="j: there is a job of that name"):
        submit(store, "j")
    ModelStore(store.database).add("phi", job="j", folder="models/phi")
    store.delete("j")
    with pytest.raises(WrongState, match="j: there is a model's job of that name"):
        submit(store, "j")
    submit(store, "k")
    store.delete("k")
    submit(store, "k")
    assert states(store.events(job="k")) == ["Queued"]


def test_delete_is_refused_while_a_worker_has_it(store: JobStore) -> None:
    submit(store, "j")
    lease = claimed(store)
    with pytest.raises(WrongState, match="j: a worker has it; cancel it first"):
        store.delete("j")
    store.advance(lease, State.FAILED, error={"what": "x"})
    store.delete("j")
    with pytest.raises(JobNotFound):
        store.get("j")
    assert store.events() == []


def test_files_go_before_the_name_is_free(store: JobStore) -> None:
    submit(store, "j")
    with pytest.raises(OSError, match="read-only"):
        store.delete("j", remove=_fails)
    assert store.get("j").state is State.QUEUED
    removed: list[str] = []
    store.delete("j", remove=removed.append)
    assert removed == ["j"]


def _fails(name: str) -> None:
    raise OSError("read-only")


def test_a_repeated_submit_is_the_same_job(store: JobStore) -> None:
    spec = Spec("distillation", {"task": "nli"}, tags={"a": "b"})
    first = store.submit(spec, owner="asha", key="k1")
    assert store.submit(spec, owner="asha", key="k1") == first
    assert store.submit(spec, owner="juma", key="k1").name != first.name
    assert store.submit(spec, owner="asha", key="k2").name != first.name
    assert store.submit(spec, owner="asha").name != store.submit(spec, owner="asha").name
    with pytest.raises(WrongState, match="this key was used for another submission"):
        store.submit(Spec("distillation", {"task": "qa"}), owner="asha", key="k1")
    store.advance(claimed(store), State.FAILED)
    assert store.submit(spec, owner="asha", key="k1").state is State.FAILED


def test_what_a_job_uses_has_to_be_there(store: JobStore) -> None:
    datasets = DatasetStore(store.database)
    datasets.add(
        "rows", sha256="a", rows=1, size=1, task="nli", file="a", owner="asha", place=lambda: None
    )
    submit(store, "j", uses=("dataset:rows@1",))
    for uses in ("dataset:rows@2", "model:rows@1"):
        with pytest.raises(WrongState, match=f"uses {uses}, which is gone"):
            submit(store, "k", uses=(uses,))
    store.cancel("j")
    datasets.delete("rows", remove=lambda _: None)
    with pytest.raises(WrongState, match="j: uses dataset:rows@1, which is gone"):
        store.resume("j")
    assert store.get("j").state is State.CANCELED
    assert [job.name for job in store.jobs()] == ["j"]


def test_progress_keeps_the_newest_of_each_stage(store: JobStore) -> None:
    submit(store, "j")
    submit(store, "k")
    lease, other = claimed(store), claimed(store, "cpu:1")
    store.report(other, "progress", {"stage": "generate", "done": 1})
    for done in range(300):
        store.report(lease, "progress", {"stage": ("generate", "finetune")[done % 2], "done": done})
        store.report(lease, "spent", {"usd": done / 100, "requests": done})
    told = [(event.kind, event.data) for event in store.events(job="j") if event.kind != "state"]
    assert told == [
        ("progress", {"stage": "generate", "done": 298}),
        ("progress", {"stage": "finetune", "done": 299}),
        ("spent", {"usd": 2.99, "requests": 299}),
    ]
    assert store.get("j").spent_usd == 2.99 and store.get("k").spent_usd is None
    assert len(store.events(job="k")) == 3 and states(store.events(job="j")) == [
        "Queued",
        "Starting",
    ]


def test_events_are_read_after_a_number(store: JobStore) -> None:
    assert store.newest_event() == 0
    submit(store, "a")
    submit(store, "b")
    first, second = store.events()
    assert [event.job for event in store.events(after=first.number)] == ["b"]
    assert store.newest_event() == second.number
    assert store.events(after=second.number) == []
    store.delete("b")
    submit(store, "c")
    assert [event.number > second.number for event in store.events(job="c")] == [True]


def test_old_jobs_expire_but_for_those_of_models(store: JobStore, clock: Clock) -> None:
    for name in ("old", "source", "paused", "waits"):
        submit(store, name)
    store.cancel("old")
    store.pause("paused")
    clock.now += 1
    for name in ("source", "waits"):
        lease = claimed(store)
        assert lease.job == name
        store.advance(lease, State.FAILED)
    store.resume("waits")
    submit(store, "young")
    ModelStore(store.database).add("phi", job="source", folder="models/phi")
    clock.now += 30 * DAY_S - 1
    store.cancel("young")
    assert store.expire() == []
    clock.now += 1.5
    removed: list[str] = []
    assert store.expire(remove=removed.append) == removed == ["old"]
    assert store.expire() == []
    clock.now += 100 * DAY_S
    assert store.expire() == ["young"]
    assert {job.name for job in store.jobs()} == {"source", "paused", "waits"}


def test_nothing_expires_without_a_limit(tmp_path: Path, clock: Clock) -> None:
    store = JobStore(tmp_path / "service.db", clock=clock)
    submit(store, "j")
    store.cancel("j")
    clock.now += 10_000 * DAY_S
    assert store.expire() == []


def test_a_list_of_jobs_is_without_their_configs(store: JobStore) -> None:
    submit(store, "j", tags={"team": "edge"})
    whole = store.get("j")
    assert whole.spec.config and whole.spec.tags
    assert store.jobs() == [replace(whole, spec=replace(whole.spec, config={}))]
