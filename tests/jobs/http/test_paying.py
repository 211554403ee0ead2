"""Money in the playground: whose it is, and that what is spent is spent."""

from __future__ import annotations

from pathlib import Path

from mwalimu.jobs.records import Role, Spec
from mwalimu.jobs.settings import Quota, Quotas
from tests.jobs.service import running

QUESTION = {"messages": [{"role": "user", "content": "?"}], "pay": True}


def test_who_has_spent_all_pays_for_no_answer(tmp_path: Path) -> None:
    with running(tmp_path) as here:
        store = here.service.store
        spec = Spec("distillation", {"budget": {"usd": 1.0}})
        store.submit(spec, owner="sam", name="one")
        store.note_spent("one", 1.0)
        store.quotas = Quotas(default=Quota(usd=1.0))
        with here.client(Role.SUBMITTER) as sam:
            answer = sam.post("/v1/jobs/one/ask", json=QUESTION)
            assert answer.status_code == 429
            assert answer.json()["error"]["what"] == "sam has spent what they may, 1 USD"
            unpaid = sam.post("/v1/jobs/one/ask", json=QUESTION | {"pay": False})
            assert (unpaid.status_code, unpaid.json()["error"]["what"]) == (
                409,
                "has no student yet",
            )
