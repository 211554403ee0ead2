"""How many may follow events and logs at once: so many of one owner, so many in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from mwalimu.jobs.client import Client
from mwalimu.jobs.http.problems import Refused
from mwalimu.jobs.http.server import CONNECTIONS
from mwalimu.jobs.http.streams import RETRY_S, Streams
from mwalimu.jobs.records import Owner, Role
from mwalimu.jobs.refusals import QuotaReached
from mwalimu.jobs.settings import DEFAULTS, Quota, Quotas, ServiceSettings
from tests.jobs.dashboard import seeding
from tests.jobs.service import Running, running
from tests.jobs.waiting import wait_for

QUOTAS = Quotas(streams=3, default=Quota(streams=2))
DASHBOARDS = 200
OF_ONE = 2  # a page of a job follows the events, and its log


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = ServiceSettings(quotas=QUOTAS)
    with running(tmp_path_factory.mktemp("streams"), settings=settings) as found:
        seeding.started(found.service, "followed", "a job")
        yield found


def followed(stack: ExitStack, client: httpx2.Client, path: str) -> httpx2.Response:
    answer = stack.enter_context(client.stream("GET", path, params={"follow": "true"}))
    assert answer.status_code == 200
    return answer


def refused(client: httpx2.Client, path: str) -> Any:
    answer = client.get(path, params={"follow": "true"})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == str(RETRY_S)
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.json()["error"]


def open_of(client: httpx2.Client) -> int:
    return int(client.get("/v1/me").json()["used"]["streams"])


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/followed/logs"])
def test_an_owner_has_so_many_and_one_more_once_one_is_closed(place: Running, path: str) -> None:
    with place.client() as client, ExitStack() as stack:
        first = followed(stack, client, "/v1/events")
        followed(stack, client, "/v1/jobs/followed/logs")
        assert open_of(client) == 2
        error = refused(client, path)
        assert (error["code"], error["where"]) == ("quota", "streams")
        assert error["what"] == "sam may have 2 streams open"
        assert client.get("/v1/events").status_code == 200, "what ends by itself needs no place"
        first.close()
        wait_for(lambda: open_of(client) == 1, 30)
        followed(stack, client, path)
    with place.client() as client:
        wait_for(lambda: open_of(client) == 0, 30)


def test_all_owners_together_have_so_many(place: Running) -> None:
    with place.client() as sam, place.client(Role.VIEWER) as vera, ExitStack() as stack:
        for client in (sam, sam, vera):
            followed(stack, client, "/v1/events")
        assert refused(vera, "/v1/events")["what"] == "3 streams are open"
        assert open_of(vera) == 1


def test_the_client_says_so(place: Running) -> None:
    with place.client() as client, ExitStack() as stack:
        for _ in range(2):
            followed(stack, client, "/v1/events")
        with (
            Client(place.url, place.tokens[Role.SUBMITTER]) as other,
            pytest.raises(QuotaReached, match="streams: sam may have 2 streams open"),
        ):
            next(iter(other.follow_events(job="followed")))


def test_a_place_is_given_back_however_the_stream_ends() -> None:
    streams = Streams(QUOTAS)
    sam = Owner("sam", Role.SUBMITTER)
    for _ in range(5):
        with pytest.raises(OSError, match="gone"), streams.place(sam), streams.place(sam):
            with pytest.raises(Refused):
                streams.place(sam).__enter__()
            raise OSError("gone")
    assert streams.of("sam") == 0


def test_a_role_may_have_as_many_as_there_are() -> None:
    streams = Streams(Quotas(streams=3, roles={Role.ADMIN: Quota(streams=None)}))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(streams.place(Owner("ada", Role.ADMIN)))
        assert streams.of("ada") == 3


def test_two_hundred_dashboards_of_one_owner_are_possible() -> None:
    streams = Streams(DEFAULTS.quotas)
    with ExitStack() as stack:
        for _ in range(DASHBOARDS * OF_ONE):
            stack.enter_context(streams.place(Owner("sam", Role.SUBMITTER)))
    assert DEFAULTS.quotas.streams < CONNECTIONS, "others are answered while all of them are open"
