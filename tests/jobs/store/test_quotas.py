import threading
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import Role, Spec
from mwalimu.jobs.refusals import QuotaReached
from mwalimu.jobs.settings import Quota, Quotas
from mwalimu.jobs.states import State
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.quotas import Used
from mwalimu.jobs.store.tokens import TokenStore

QUOTAS = Quotas(
    queue=6,
    default=Quota(waiting=2, running=1, usd=10, dataset_bytes=100),
    roles={Role.ADMIN: Quota(waiting=None, running=None, usd=None, dataset_bytes=None)},
)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    made = JobStore(tmp_path / "service.db", quotas=QUOTAS)
    TokenStore(made.database).make("root", Role.ADMIN)
    return made


def costing(usd: float | None) -> Spec:
    return Spec("distillation", {} if usd is None else {"budget": {"usd": usd}})


def submit(store: JobStore, name: str, usd: float | None = 1, owner: str = "asha") -> None:
    store.submit(costing(usd), owner=owner, name=name)


def run(store: JobStore, name: str, end: State = State.FAILED, **found: Any) -> None:
    lease = store.claim("cpu:0", "cpu")
    assert lease and lease.job == name
    store.advance(lease, end, **found)


def usd(store: JobStore) -> float:
    return store.standing("asha")[1].usd


def test_jobs_that_wait_are_limited(store: JobStore) -> None:
    submit(store, "a")
    submit(store, "b")
    with pytest.raises(QuotaReached, match="waiting: asha may have 2 jobs waiting; wait until"):
        submit(store, "c")
    assert {job.name for job in store.jobs()} == {"a", "b"}
    submit(store, "d", owner="juma")
    run(store, "a")
    submit(store, "c")
    with pytest.raises(QuotaReached):
        store.resume("a")
    assert store.get("a").state is State.FAILED


def test_the_queue_is_limited_for_all(store: JobStore) -> None:
    for number in range(6):
        submit(store, f"j{number}", None, owner="root")
    for owner in ("root", "asha"):
        with pytest.raises(QuotaReached, match="queue: the queue is full: 6 jobs wait"):
            submit(store, "x", owner=owner)


def test_an_owner_at_the_limit_is_passed_over(store: JobStore) -> None:
    submit(store, "a1")
    submit(store, "a2")
    submit(store, "j1", owner="juma")
    submit(store, "r1", None, owner="root")
    submit(store, "r2", None, owner="root")
    slots = [store.claim(f"cpu:{number}", "cpu") for number in range(5)]
    assert [lease and lease.job for lease in slots] == ["a1", "j1", "r1", "r2", None]
    assert slots[0]
    store.advance(slots[0], State.FAILED)
    again = store.claim("cpu:0", "cpu")
    assert again and again.job == "a2"


def test_money_is_reserved_while_a_job_lives_and_then_what_it_spent(store: JobStore) -> None:
    submit(store, "a", 6)
    with pytest.raises(
        QuotaReached,
        match=r"budget.usd: asha may spend 10 USD, and with this job 11 would be spent or reserved",
    ):
        submit(store, "b", 5)
    submit(store, "b", 4)
    run(store, "a", spent_usd=1.5)
    assert usd(store) == 5.5
    submit(store, "c", 4.5)
    with pytest.raises(QuotaReached):
        store.resume("a")
    store.cancel("c")
    assert usd(store) == 5.5, "it had not begun"
    store.resume("a")
    assert usd(store) == 10, "it may spend its whole budget again"


def test_an_unknown_sum_counts_as_the_whole_budget(store: JobStore) -> None:
    submit(store, "a", 6)
    run(store, "a", spent_usd=None)
    assert usd(store) == 6


def test_a_paused_job_keeps_what_it_reserved(store: JobStore) -> None:
    submit(store, "a", 6)
    store.pause("a")
    assert usd(store) == 6


def test_a_deleted_job_gives_nothing_back(store: JobStore) -> None:
    for name in ("a", "b"):
        submit(store, name, 5)
        run(store, name, spent_usd=4)
        store.delete(name)
    assert usd(store) == 8 and store.jobs() == []
    with pytest.raises(QuotaReached):
        submit(store, "c", 3)
    submit(store, "c", 2)


def test_a_job_that_never_began_was_free(store: JobStore) -> None:
    submit(store, "a", 5)
    submit(store, "b", 5)
    store.pause("b")
    assert usd(store) == 10
    store.delete("a")
    store.delete("b")
    assert usd(store) == 0


def test_who_is_limited_has_to_name_a_budget(store: JobStore) -> None:
    with pytest.raises(ConfigError, match=r"budget.usd: is required: asha may spend 10 USD"):
        submit(store, "a", None)
    store.submit(Spec("evaluation", {"model": "phi"}), owner="asha", name="free")
    assert usd(store) == 0
    submit(store, "r", None, owner="root")


def test_bytes_of_datasets_are_limited(store: JobStore) -> None:
    datasets, placed = DatasetStore(store.database, quotas=QUOTAS), list[str]()

    def add(name: str, size: int) -> None:
        datasets.add(
            name,
            sha256=name,
            rows=1,
            size=size,
            task="nli",
            file=name,
            owner="asha",
            place=lambda: placed.append(name),
        )

    add("a", 60)
    with pytest.raises(QuotaReached, match="asha may keep 100 bytes of datasets"):
        add("b", 41)
    assert placed == ["a"] and [dataset.name for dataset in datasets.all()] == ["a"]
    add("b", 40)
    assert store.standing("asha") == (QUOTAS.default, Used(0, 0, 0.0, 100))


def test_two_at_once_cannot_both_pass(store: JobStore) -> None:
    """Twelve threads, room for two."""
    outcomes, start = list[str](), threading.Barrier(12)

    def go(number: int) -> None:
        start.wait()
        try:
            submit(store, f"j{number}", 5)
            outcomes.append("in")
        except QuotaReached:
            outcomes.append("refused")

    threads = [threading.Thread(target=go, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in"] * 2 + ["refused"] * 10
    assert len(store.jobs()) == 2 and usd(store) == 10
