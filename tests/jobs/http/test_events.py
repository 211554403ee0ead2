"""Events as they happen, to many at once; logs as they grow."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mwalimu.jobs.http import feed as feeding
from mwalimu.jobs.http.feed import Feed
from mwalimu.jobs.records import Event, Role
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from tests.jobs.dashboard import seeding
from tests.jobs.service import Running, running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("events")) as found:
        yield found


def parsed(text: str) -> list[dict[str, Any]]:
    """The events of a stream, read as the standard says."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            data = json.loads(fields["data"])
            assert (int(fields["id"]), fields["event"]) == (data["number"], data["kind"])
            found.append(data)
    return found


def listened(place: Running, query: str, *, until: str) -> list[dict[str, Any]]:
    """What is heard up to the first event whose text holds `until`."""
    text, end = "", time.monotonic() + 60
    headers = {"Authorization": f"Bearer {place.tokens[Role.VIEWER]}"}
    with httpx2.stream(
        "GET", f"{place.url}/v1/events?{query}", headers=headers, timeout=60
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for piece in answer.iter_text():
            text += piece
            if until in text:
                break
            assert time.monotonic() < end, text
    return parsed(text)


def test_what_has_happened_is_told_once_and_in_order(place: Running) -> None:
    store = place.service.store
    for i in range(5):
        seeding.queued(place.service, f"past-{i}", "a job")
    with place.client() as client:
        told = parsed(client.get("/v1/events").text)
        numbers = [event.number for event in store.events(limit=10_000)]
        assert [event["number"] for event in told] == numbers
        later = parsed(client.get(f"/v1/events?after={numbers[2]}").text)
        assert later == told[3:]
        mine = parsed(client.get("/v1/events?job=past-3").text)
        assert {event["job"] for event in mine} == {"past-3"} and mine


def test_a_listener_hears_the_past_and_then_what_comes(place: Running) -> None:
    lease = seeding.started(place.service, "heard", "a job")
    store = place.service.store

    def speak() -> None:
        for done in range(20):
            time.sleep(0.02)
            store.report(lease, "progress", seeding.progress("finetune", done, 20, ""))

    speaker = threading.Thread(target=speak)
    speaker.start()
    told = listened(place, "job=heard&after=0&follow=true", until='"done":19')
    speaker.join()
    numbers = [event["number"] for event in told]
    assert numbers == sorted(set(numbers))
    assert [event["data"]["state"] for event in told if event["kind"] == "state"][-1] == "Running"
    done = [event["data"]["done"] for event in told if event["kind"] == "progress"]
    assert done == sorted(done)  # the store keeps the newest: some may be left out


def test_who_comes_back_misses_nothing(place: Running) -> None:
    lease = seeding.started(place.service, "back", "a job")
    first = listened(place, "job=back&after=0&follow=true", until="Running")
    place.service.store.advance(lease, State.FINALIZING)
    query = f"job=back&after={first[-1]['number']}&follow=true"
    second = listened(place, query, until="Finalizing")
    assert second[0]["data"]["state"] == "Finalizing"
    assert second[0]["number"] > first[-1]["number"]


def test_many_listeners_cost_the_store_one_reader(tmp_path: Path) -> None:
    """200 streams of one feed: each hears all, and the store is asked as for one."""
    store = JobStore(tmp_path / "service.db")
    asked = 0

    class Counted:
        newest_event = staticmethod(store.newest_event)

        @staticmethod
        def events(**given: Any) -> list[Event]:
            nonlocal asked
            asked += 1
            return store.events(**given)

    async def heard(stream: AsyncIterator[bytes], enough: int) -> list[bytes]:
        found = []
        async for piece in stream:
            if piece.startswith(b"id"):
                found.append(piece)
            if len(found) == enough:
                return found
        return found

    async def scene() -> tuple[list[list[bytes]], float]:
        feed = Feed(Counted())  # type: ignore[arg-type]
        listeners = [asyncio.create_task(heard(feed.follow(0, None), 10)) for _ in range(200)]
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        for i in range(10):  # an event each
            await asyncio.to_thread(seeding_queued, store, f"job-{i}")
        found = await asyncio.wait_for(asyncio.gather(*listeners), 60)
        feed.close()
        return found, time.monotonic() - begun

    found, seconds = asyncio.run(scene())
    assert len(found[0]) == 10 and all(one == found[0] for one in found)
    assert asked < 5 + (seconds + 0.3) / feeding.POLL * 1.5


def seeding_queued(store: JobStore, name: str) -> None:
    store.submit(seeding.spec("a job"), owner="sam", name=name)


def test_a_feed_that_nobody_hears_asks_nothing(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "service.db")

    async def scene() -> None:
        feed = Feed(store)
        stream = feed.follow(0, None)
        waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(seeding_queued, store, "one")
        assert b'"Queued"' in await asyncio.wait_for(waiting, 60)
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(3 * feeding.POLL)
        assert feed._reader is not None and feed._reader.done()
        await asyncio.to_thread(seeding_queued, store, "two")  # while nobody listens
        again = feed.follow(0, None)
        told = [await asyncio.wait_for(anext(again), 60) for _ in range(2)]
        assert [b'"one"' in told[0], b'"two"' in told[1]] == [True, True]
        feed.close()

    asyncio.run(scene())


def test_who_is_far_behind_is_caught_up_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than are kept in memory, and more than a page."""
    monkeypatch.setattr(feeding, "KEPT", 7)
    monkeypatch.setattr(feeding, "PAGE", 3)
    store = JobStore(tmp_path / "service.db")

    async def scene() -> None:
        feed = Feed(store)
        early = asyncio.create_task(_numbers(feed.follow(0, None), 40))
        for i in range(40):
            await asyncio.to_thread(seeding_queued, store, f"job-{i}")
        late = asyncio.create_task(_numbers(feed.follow(0, None), 40))
        found = await asyncio.wait_for(asyncio.gather(early, late), 60)
        assert found[0] == found[1] == [event.number for event in store.events()]
        feed.close()

    asyncio.run(scene())


async def _numbers(stream: AsyncIterator[bytes], enough: int) -> list[int]:
    found: list[int] = []
    async for piece in stream:
        found.append(int(piece.split(b"\n")[0].removeprefix(b"id: ")))
        if len(found) == enough:
            break
    return found


def test_a_quiet_stream_says_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "COMMENT_EVERY", 0.1)

    async def scene() -> bytes:
        feed = Feed(JobStore(tmp_path / "service.db"))
        return await asyncio.wait_for(anext(feed.follow(0, None)), 60)  # type: ignore[arg-type]

    assert asyncio.run(scene()) == feeding.COMMENT


def test_no_stream_outlives_its_token_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "LONGEST", 0.2)
    monkeypatch.setattr(feeding, "COMMENT_EVERY", 0.05)

    async def scene() -> int:
        feed = Feed(JobStore(tmp_path / "service.db"))
        return len([piece async for piece in feed.follow(0, None)])

    assert asyncio.run(asyncio.wait_for(scene(), 60)) >= 2


def test_an_ending_service_ends_its_streams(tmp_path: Path) -> None:
    with running(tmp_path) as place, place.client() as client:  # noqa: SIM117
        with client.stream("GET", "/v1/events?follow=true") as answer:
            begun = time.monotonic()
            place.server.should_exit = True
            assert "".join(answer.iter_text()).count("data:") == 0
            assert time.monotonic() - begun < 3


def test_a_log_is_followed_to_the_end_of_its_job(place: Running) -> None:
    lease = seeding.started(place.service, "logged", "a job")
    log = place.service.workspace.log("logged")
    log.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        for i in range(10):
            with open(log, "ab") as handle:
                handle.write(b"line %d \xff <script>\n" % i)
            time.sleep(0.05)
        place.service.store.advance(lease, State.FAILED)

    writer = threading.Thread(target=write)
    writer.start()
    with place.client() as client:
        told = client.get("/v1/jobs/logged/logs?follow=true")
        assert told.content == log.read_bytes() and told.content.count(b"\n") == 10
        assert told.headers["content-type"] == "text/plain; charset=utf-8"
        assert told.headers["x-content-type-options"] == "nosniff"
        assert client.get("/v1/jobs/logged/logs?after=20").content == log.read_bytes()[20:]
        assert client.get("/v1/jobs/logged/logs?after=999999").content == b""
    writer.join()
