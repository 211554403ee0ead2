"""The same client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic, ParamSpec, Self, TypeVar

import httpx2

from mwalimu.data.record import Json
from mwalimu.jobs.client import files, plans, requests, streams, transport
from mwalimu.jobs.client.finding import find_service
from mwalimu.jobs.client.plans import Pause, Plan, Told
from mwalimu.jobs.client.requests import Call
from mwalimu.jobs.client.told import DatasetInfo, JobInfo
from mwalimu.jobs.records import Event

P = ParamSpec("P")
T = TypeVar("T")

_PIECE = 1 << 18  # bytes of an upload that are read at once


class Verb(Generic[P, T]):
    """A request of requests.py as a coroutine that sends it."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self.build = build

    def __get__(self, client: AsyncClient, kind: type[AsyncClient]) -> Callable[P, Awaitable[T]]:
        @wraps(self.build)
        async def send(*args: P.args, **named: P.kwargs) -> T:
            return await client.send(self.build(*args, **named))

        return send


class AsyncClient:
    """As `Client`, method by method."""

    def __init__(self, url: str, token: str, *, certificate: str | None = None) -> None:
        self.url = transport.checked(url)
        self._http = httpx2.AsyncClient(**transport.settings(url, token, certificate))

    @classmethod
    async def connect(cls, url: str | None = None, token: str | None = None) -> Self:
        place = await asyncio.to_thread(find_service, url, token)
        return cls(place.url, place.token, certificate=place.certificate)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    health = Verb(requests.health)
    me = Verb(requests.me)
    webhook_secret = Verb(requests.webhook_secret)
    submit = Verb(requests.submit)
    estimate = Verb(requests.estimate)
    jobs = Verb(requests.jobs)
    job = Verb(requests.job)
    delete = Verb(requests.delete)
    cancel = Verb(requests.cancel)
    pause = Verb(requests.pause)
    resume = Verb(requests.resume)
    config = Verb(requests.config)
    log = Verb(requests.log)
    metrics = Verb(requests.metrics)
    progress = Verb(requests.progress)
    funnel = Verb(requests.funnel)
    spend = Verb(requests.spend)
    samples = Verb(requests.samples)
    scores = Verb(requests.scores)
    artefacts = Verb(requests.artefacts)
    ask = Verb(requests.ask)
    events = Verb(requests.events)
    compare = Verb(requests.compare)
    models = Verb(requests.models)
    model = Verb(requests.model)
    register = Verb(requests.register)
    delete_model = Verb(requests.delete_model)
    evaluate = Verb(requests.evaluate)
    datasets = Verb(requests.datasets)
    dataset = Verb(requests.dataset)
    upload = Verb(requests.upload)
    validate = Verb(requests.validate)
    delete_dataset = Verb(requests.delete_dataset)
    registry = Verb(requests.registry)
    schema = Verb(requests.schema)
    states = Verb(requests.states)
    tokens = Verb(requests.tokens)
    create_token = Verb(requests.create_token)
    revoke_token = Verb(requests.revoke_token)
    audit = Verb(requests.audit)

    async def wait(self, name: str, *, timeout: float | None = None) -> JobInfo:
        return await self._result(plans.wait(name, timeout=timeout))

    async def submit_with_files(self, submission: Json, *, base: Path) -> JobInfo:
        found = await asyncio.to_thread(files.rows_files, submission["config"], base)
        whole = await asyncio.to_thread(files.with_texts, submission, base)
        return await self._result(plans.submit(whole, found))

    async def upload_file(self, path: Path, *, task: str) -> DatasetInfo:
        found = await asyncio.to_thread(files.rows_file, "file", path)
        return await self._result(plans.upload(found, task))

    async def stream(self, name: str, *, after: int = 0) -> AsyncIterator[Told]:
        plan = plans.stream(name, after=after)
        given: Any = None
        while True:
            try:
                step = plan.send(given)
            except StopIteration:
                return
            given = await self._carried_out(step)
            if isinstance(step, Told):
                yield step

    async def follow_log(self, name: str, *, after: int = 0) -> AsyncIterator[bytes]:
        async for piece in self._followed(streams.LogPlace(name, after)):
            yield piece

    async def follow_events(
        self, *, after: int = 0, job: str | None = None
    ) -> AsyncIterator[Event]:
        async for event in self._followed(streams.EventPlace(job, after)):
            yield event

    async def download(self, name: str, path: str, to: Path) -> Path:
        wanted = streams.listed(await self.artefacts(name), name, path)
        return await self._saved(requests.artefact_path(name, path), to, wanted.sha256)

    async def download_model(self, name: str, to: Path, *, version: int | None = None) -> Path:
        found = await self.model(name, version=version)
        path = requests.model_archive_path(name, found.version)
        with streams.unpacking(to) as archive:
            await self._saved(path, archive, None)
        return to

    async def send(self, call: Call[T]) -> T:
        for attempt, pause in enumerate((*transport.pauses(), None)):
            try:
                response = await self._sent(call)
            except httpx2.TransportError as error:
                if pause is None or not transport.sent_again(call, error):
                    raise transport.unreachable(self.url, error) from None
            else:
                if made := transport.arrived(call, response, attempt):
                    return await self.send(made)
                if pause is None or not transport.busy(call, response):
                    return transport.understood(call, response)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _sent(self, call: Call[Any]) -> httpx2.Response:
        if call.content is None:
            return await self._http.request(**transport.asked(call, None))
        with call.content.open("rb") as file:
            return await self._http.request(**transport.asked(call, _pieces(file)))

    async def _result(self, plan: Plan[T]) -> T:
        given: Any = None
        while True:
            try:
                step = plan.send(given)
            except StopIteration as end:
                found: T = end.value
                return found
            given = await self._carried_out(step)

    async def _carried_out(self, step: plans.Step) -> Any:
        match step:
            case Call():
                return await self.send(step)
            case Pause(seconds):
                await asyncio.sleep(seconds)
        return None

    async def _followed(self, place: streams.Place[T]) -> AsyncIterator[T]:
        """A stream that ends before its end is taken up where it was."""
        waiting = transport.pauses()
        while True:
            try:
                async with self._http.stream(
                    "GET", place.path, params=place.query(), timeout=transport.STREAM_TIMEOUT
                ) as response:
                    if not response.is_success:
                        await response.aread()
                        transport.refuse(response, f"GET {place.path}")
                    async for piece in response.aiter_raw():
                        for found in transport.taken(place, piece):
                            yield found
                        waiting = transport.pauses()
                        if place.ending and await self._result(place.over()):
                            return
                if await self._result(place.over()):
                    return
            except httpx2.ReadTimeout:
                continue  # nothing was said for long; it may have been lost on the way
            except httpx2.TransportError as error:
                if (pause := next(waiting, None)) is None:
                    raise transport.unreachable(self.url, error) from None
                await asyncio.sleep(pause)
            else:
                await asyncio.sleep(transport.AGAIN_S)

    async def _saved(self, path: str, to: Path, sha256: str | None) -> Path:
        with streams.saving(to, sha256) as file:
            try:
                async with self._http.stream("GET", path) as response:
                    if not response.is_success:
                        await response.aread()
                        transport.refuse(response, f"GET {path}")
                    async for piece in response.aiter_raw():
                        file.write(piece)
            except httpx2.TransportError as error:
                raise transport.unreachable(self.url, error) from None
        return to


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece
