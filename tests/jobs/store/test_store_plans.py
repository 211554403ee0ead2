"""No question that is asked often reads every job or every event, however many there are."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from mwalimu.jobs.records import Kind, Spec
from mwalimu.jobs.settings import Quota, Quotas
from mwalimu.jobs.states import State
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.models import ModelStore

QUOTAS = Quotas(default=Quota(running=5, usd=100))


def test_every_statement_finds_its_rows_by_an_index(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "service.db", quotas=QUOTAS, retention_days=1)
    with store.database.read() as connection:
        pass
    said: list[str] = []
    connection.set_trace_callback(said.append)
    _ask_everything(store)
    connection.set_trace_callback(None)
    statements = {text for text in said if text.startswith(("SELECT", "UPDATE", "DELETE"))}
    assert len(statements) > 30
    plans = {
        text: [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
        for text in statements
    }
    ordered = ("SCAN jobs USING INDEX jobs_by_created",)  # the newest first, as far as is asked
    for text, plan in plans.items():
        for step in plan:
            assert not step.startswith(("SCAN jobs", "SCAN events")) or step in ordered, text


def _ask_everything(store: JobStore) -> None:
    spec = Spec("distillation", {"budget": {"usd": 1}})
    store.submit(spec, owner="asha", name="j", key="k")
    lease = store.claim("cpu:0", "cpu")
    assert lease and store.claim("cpu:1", "cpu") is None
    store.heartbeat(lease)
    store.report(lease, "progress", {"stage": "generate"})
    store.advance(lease, State.PREPARING)
    store.pause("j")
    store.give_back(lease)
    store.take_back()
    store.resume("j")
    kinds: tuple[Kind | None, ...] = (None, "evaluation")
    for state, owner, kind, before in product(
        (None, State.FAILED), (None, "a"), kinds, (None, 1.0)
    ):
        store.jobs(state=state, owner=owner, kind=kind, before=before)
    store.events(after=3)
    store.events(after=3, job="j")
    store.newest("j", "progress")
    store.newest_event()
    store.standing("asha")
    DatasetStore(store.database).users("rows")
    ModelStore(store.database).all(job="j")
    store.expire()
    store.delete("j")
