"""The playground: one question to the student and its teacher."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from mwalimu.jobs.http.access import GuardedRoute, require_owner_of
from mwalimu.jobs.http.asked import NamePath, Question
from mwalimu.jobs.http.documented import good
from mwalimu.jobs.http.service import Here, Service, Who
from mwalimu.jobs.http.threads import at_length
from mwalimu.jobs.http.told import tell
from mwalimu.jobs.records import Owner
from mwalimu.jobs.refusals import QuotaReached

router = APIRouter(route_class=GuardedRoute)


class AnswerTold(TypedDict):
    text: str
    seconds: float


class AnswersTold(TypedDict):
    student: AnswerTold
    teacher: AnswerTold | None
    note: str


@router.post("/v1/jobs/{job}/ask", responses=good(AnswersTold))
async def ask(job: NamePath, asked: Question, here: Here, who: Who, request: Request) -> Response:
    """The teacher is asked only where that costs nothing, or with `pay`, of a job of one's own."""
    return await at_length(request, _answered, job, asked, here, who)


def _answered(job: str, asked: Question, here: Service, who: Owner) -> Response:
    found = here.store.get(job)
    if asked.pay:
        require_owner_of(who, found)
        _require_money(here, found.owner)
    turns = [turn.model_dump() for turn in asked.messages]
    return tell(here.playground.ask(job, turns, max_tokens=asked.max_tokens, pay=asked.pay))


def _require_money(here: Service, owner: str) -> None:
    """The job's own budget bounds what one answer may cost."""
    quota, used = here.store.standing(owner)
    if quota.usd is not None and used.usd >= quota.usd:
        raise QuotaReached(
            f"{owner} has spent what they may, {quota.usd:g} USD",
            where="pay",
            fix="ask for a higher quota",
        )
