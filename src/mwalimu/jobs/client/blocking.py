"""The client that waits for each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

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


class Verb(Generic[P, T]):
    """A request of requests.py as a method that sends it."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self.build = build

    def __get__(self, client: Client, kind: type[Client]) -> Callable[P, T]:
        @wraps(self.build)
        def send(*args: P.args, **named: P.kwargs) -> T:
            return client.send(self.build(*args, **named))

        return send


class Client:
    """Of the service at `url`, with `token`; `certificate` as PEM is the only one that it may show.

    Every method raises the errors of problems.py, and ConfigError, DataError and the rest as the
    service tells them. What may be sent twice is, for half a minute, while nobody answers.
    """

    def __init__(self, url: str, token: str, *, certificate: str | None = None) -> None:
        self.url = transport.checked(url)
        self._http = httpx2.Client(**transport.settings(url, token, certificate))

    @classmethod
    def connect(cls, url: str | None = None, token: str | None = None) -> Self:
        """`url` or MWALIMU_URL, `token` or MWALIMU_TOKEN; else the local service, started if need
        be. Raises ConfigError where there is an address but no token."""
        place = find_service(url, token)
        return cls(place.url, place.token, certificate=place.certificate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

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

    def wait(self, name: str, *, timeout: float | None = None) -> JobInfo:
        """Until it has ended; WaitedTooLong after `timeout` seconds."""
        return self._result(plans.wait(name, timeout=timeout))

    def submit_with_files(self, submission: Json, *, base: Path) -> JobInfo:
        """Files of rows that its config names, from the folder `base`, are uploaded first; schemas,
        personas, documents and graders go along.

        Raises ConfigError for a file or folder that the service does not take.
        """
        found = files.rows_files(submission["config"], base)
        return self._result(plans.submit(files.with_texts(submission, base), found))

    def upload_file(self, path: Path, *, task: str) -> DatasetInfo:
        """Under a name for its content, unless the service has it."""
        return self._result(plans.upload(files.rows_file("file", path), task))

    def stream(self, name: str, *, after: int = 0) -> Iterator[Told]:
        """Events above number `after` and lines of its log, as they come, until it has ended."""
        yield from self._carried_out(plans.stream(name, after=after))

    def follow_log(self, name: str, *, after: int = 0) -> Iterator[bytes]:
        """The log from byte `after`, as it is written, until the job has ended."""
        place = streams.LogPlace(name, after)
        yield from self._followed(place)

    def follow_events(self, *, after: int = 0, job: str | None = None) -> Iterator[Event]:
        """Events with a number above `after` as they happen; of one job, until it has ended."""
        place = streams.EventPlace(job, after)
        yield from self._followed(place)

    def download(self, name: str, path: str, to: Path) -> Path:
        """A file of the job's run, whole or not at all. Raises RunError if its bytes are others."""
        wanted = streams.listed(self.artefacts(name), name, path)
        return self._saved(requests.artefact_path(name, path), to, wanted.sha256)

    def download_model(self, name: str, to: Path, *, version: int | None = None) -> Path:
        """The model's folder, in the new folder `to`."""
        found = self.model(name, version=version)
        path = requests.model_archive_path(name, found.version)
        with streams.unpacking(to) as archive:
            self._saved(path, archive, None)
        return to

    def send(self, call: Call[T]) -> T:
        """Sends it, again where that is right, and reads the answer."""
        for attempt, pause in enumerate((*transport.pauses(), None)):
            try:
                response = self._sent(call)
            except httpx2.TransportError as error:
                if pause is None or not transport.sent_again(call, error):
                    raise transport.unreachable(self.url, error) from None
            else:
                if made := transport.arrived(call, response, attempt):
                    return self.send(made)
                if pause is None or not transport.busy(call, response):
                    return transport.understood(call, response)
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _sent(self, call: Call[Any]) -> httpx2.Response:
        with ExitStack() as opened:
            content = opened.enter_context(call.content.open("rb")) if call.content else None
            return self._http.request(**transport.asked(call, content))

    def _result(self, plan: Plan[T]) -> T:
        carried_out = self._carried_out(plan)
        while True:
            try:
                next(carried_out)
            except StopIteration as end:
                found: T = end.value
                return found

    def _carried_out(self, plan: Plan[T]) -> Generator[Told, None, T]:
        given: Any = None
        while True:
            try:
                step = plan.send(given)
            except StopIteration as end:
                found: T = end.value
                return found
            given = None
            match step:
                case Call():
                    given = self.send(step)
                case Pause(seconds):
                    time.sleep(seconds)
                case told:
                    yield told

    def _followed(self, place: streams.Place[T]) -> Iterator[T]:
        """A stream that ends before its end is taken up where it was."""
        waiting = transport.pauses()
        while True:
            try:
                with self._http.stream(
                    "GET", place.path, params=place.query(), timeout=transport.STREAM_TIMEOUT
                ) as response:
                    if not response.is_success:
                        response.read()
                        transport.refuse(response, f"GET {place.path}")
                    for piece in response.iter_raw():
                        yield from transport.taken(place, piece)
                        waiting = transport.pauses()
                        if place.ending and self._result(place.over()):
                            return
                if self._result(place.over()):
                    return
            except httpx2.ReadTimeout:
                continue  # nothing was said for long; it may have been lost on the way
            except httpx2.TransportError as error:
                if (pause := next(waiting, None)) is None:
                    raise transport.unreachable(self.url, error) from None
                time.sleep(pause)
            else:
                time.sleep(transport.AGAIN_S)

    def _saved(self, path: str, to: Path, sha256: str | None) -> Path:
        with streams.saving(to, sha256) as file:
            try:
                with self._http.stream("GET", path) as response:
                    if not response.is_success:
                        response.read()
                        transport.refuse(response, f"GET {path}")
                    for piece in response.iter_raw():
                        file.write(piece)
            except httpx2.TransportError as error:
                raise transport.unreachable(self.url, error) from None
        return to
