"""Ends of jobs arrive, signed, at a real receiver; nothing else is reached."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Job, Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import DAY_S, JobStore
from mwalimu.jobs.webhooks import sender
from mwalimu.jobs.webhooks.outbox import RETRIES_S, Outbox
from mwalimu.jobs.webhooks.sender import Sender, Sending
from mwalimu.jobs.webhooks.signing import secret_of, service_secret, verified
from tests.jobs.client.scripted import HANG_UP, Answer, Asked
from tests.jobs.clock import Clock
from tests.jobs.webhooks.receiver import Receiver, make_certificate

SECRET = b"s" * 32
FAILURE = {"what": "broke", "where": "/home/somebody", "fix": "", "exit_code": 6}


class Desk:
    """A store whose jobs end when a test wants it, and the outbox over it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store = JobStore(folder / "service.db", clock=self.clock)
        self.outbox = Outbox(self.store.database, clock=self.clock)

    def submit(self, url: str | None, owner: str = "ada") -> Job:
        return self.store.submit(Spec("distillation", {}, webhook=url), owner=owner)

    def ended(self, url: str | None, state: State = State.COMPLETED) -> Job:
        job = self.submit(url)
        lease = self.store.claim("cpu-0", "cpu")
        assert lease is not None
        if state is State.FAILED:
            self.store.advance(lease, state, error=FAILURE)
        else:
            steps = (State.PREPARING, State.RUNNING, State.FINALIZING, State.COMPLETED)
            for step in steps:
                self.store.advance(lease, step)
        return self.store.get(job.name)

    def last_event(self) -> int:
        return self.store.events(limit=1000)[-1].number

    def sender(self, *allowed: str, **given: Any) -> Sender:
        resolve = given.pop("resolve", lambda host, port: ["127.0.0.1"])
        return Sender(self.outbox, Sending(SECRET, allowed, **given), resolve=resolve)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ok(asked: Asked) -> Answer:
    return Answer(204)


def test_the_end_of_a_job_arrives_signed(desk: Desk) -> None:
    with Receiver(ok) as receiver:
        url = f"http://hooks.test:{receiver.port}/jobs?token=t0p"
        job = desk.ended(url, State.FAILED)
        assert desk.sender("hooks.test").round() == 1
    (asked,) = receiver.asked
    told = json.loads(asked.body)
    assert (asked.method, asked.path) == ("POST", "/jobs?token=t0p")
    assert asked.headers["host"] == f"hooks.test:{receiver.port}"
    assert (told["job"], told["state"], told["exit_code"]) == (job.name, "Failed", 6)
    assert "somebody" not in asked.body.decode()
    secret = secret_of(SECRET, "ada")
    assert verified(secret, asked.headers, asked.body, time.time())
    assert not verified(secret_of(SECRET, "bob"), asked.headers, asked.body, time.time())
    assert not verified(secret, asked.headers, asked.body + b" ", time.time())
    assert not verified(secret, asked.headers, asked.body, time.time() + 301)
    assert not verified(secret, dict(asked.headers) | {"webhook-id": "7"}, asked.body, time.time())


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of standardwebhooks.com, spec/standard-webhooks.md."""
    from mwalimu.jobs.webhooks.signing import signed

    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}')
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_has_no_webhook_or_has_not_ended_is_told_to_nobody(desk: Desk) -> None:
    desk.ended(None)
    desk.submit("http://hooks.test/")
    desk.store.pause(desk.submit("http://hooks.test/").name)
    assert desk.outbox.fill() == 0


def test_every_end_is_taken_in_once_whoever_looks(desk: Desk) -> None:
    """Eight readers at once, as a server that is killed and one that starts."""
    for _ in range(30):
        desk.store.cancel(desk.submit("http://hooks.test/").name)
    taken: list[int] = []
    readers = [threading.Thread(target=lambda: taken.append(desk.outbox.fill())) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert sum(taken) == 30 and len(desk.outbox.due(100)) == 30


def test_a_job_that_was_deleted_is_told_of_all_the_same(desk: Desk) -> None:
    with Receiver(ok) as receiver:
        job = desk.ended(f"http://hooks.test:{receiver.port}/")
        desk.outbox.fill()
        desk.store.delete(job.name)
        desk.sender("hooks.test").round()
    assert json.loads(receiver.asked[0].body)["job"] == job.name


def test_it_is_sent_until_it_arrives(desk: Desk) -> None:
    answers = [Answer(500), HANG_UP, Answer(200)]
    with Receiver(lambda asked: answers.pop(0)) as receiver:
        desk.ended(f"http://hooks.test:{receiver.port}/")
        post = desk.sender("hooks.test")
        assert post.round() == 1
        for wait in RETRIES_S[:2]:
            desk.clock.now += wait - 1
            assert post.round() == 0
            desk.clock.now += 1
            assert post.round() == 1
        assert post.round() == 0
    assert desk.outbox.outcome(desk.last_event()) == ("delivered", 3, "")
    assert len({asked.headers["webhook-id"] for asked in receiver.asked}) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_nowhere(desk: Desk, status: int) -> None:
    with Receiver(ok) as inside:
        moved = Answer(status, headers={"location": f"http://127.0.0.1:{inside.port}/"})
        with Receiver(lambda asked: moved) as receiver:
            desk.ended(f"http://hooks.test:{receiver.port}/")
            desk.sender("hooks.test", "127.0.0.1").round()
    assert len(receiver.asked) == 1 and inside.asked == []
    assert desk.outbox.outcome(desk.last_event())[2] == f"answered {status}"


def test_it_is_given_up_after_the_last_attempt_or_at_once_where_nobody_wants_it(
    desk: Desk,
) -> None:
    for status, sent in ((503, len(RETRIES_S) + 1), (410, 1)):
        with Receiver(lambda asked, status=status: Answer(status)) as receiver:  # type: ignore[misc]
            desk.ended(f"http://hooks.test:{receiver.port}/")
            for _ in range(12):
                desk.sender("hooks.test").round()
                desk.clock.now += max(RETRIES_S)
        assert len(receiver.asked) == sent
        assert desk.outbox.outcome(desk.last_event())[0] == "given up"


def test_what_was_told_is_forgotten_with_its_job_or_in_time(desk: Desk) -> None:
    """But not before it was told."""
    with Receiver(ok) as receiver:
        url = f"http://hooks.test:{receiver.port}/"
        kept, deleted = desk.ended(url), desk.ended(url)
        last = desk.last_event()
        assert desk.sender("hooks.test").round() == 2
        untold = desk.ended("http://nobody.test:1/")
        assert desk.outbox.fill() == 1
    for job in (deleted, untold):
        desk.store.delete(job.name)
    assert desk.outbox.expire(None) == 1, "of the deleted job, that of the untold one waits"
    with pytest.raises(TypeError):
        desk.outbox.outcome(last)
    assert [waits.url for waits in desk.outbox.due(9)] == ["http://nobody.test:1/"]
    assert desk.store.get(kept.name)
    desk.clock.now += 10 * DAY_S - 1
    assert desk.outbox.expire(10) == 0
    desk.clock.now += 2
    assert desk.outbox.expire(None) == 0 and desk.outbox.expire(10) == 1


def test_a_receiver_that_dawdles_or_floods_holds_nobody_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "WHOLE_S", 0.5)
    flood, told = Answer(200, b"x" * 50_000_000), threading.Event()

    def dawdle(asked: Asked) -> Answer:
        told.wait(30)
        return Answer(200)

    with Receiver(dawdle) as slow, Receiver(lambda asked: flood) as loud:
        desk.ended(f"http://hooks.test:{slow.port}/")
        late = desk.last_event()
        desk.ended(f"http://hooks.test:{loud.port}/")
        started = time.monotonic()
        assert desk.sender("hooks.test").round() == 2
        assert time.monotonic() - started < 20
        told.set()
    assert desk.outbox.outcome(late)[2] == "no answer within 0.5 s"
    assert desk.outbox.outcome(desk.last_event())[0] == "delivered"


def test_a_name_that_leads_inside_when_it_is_called_reaches_nothing(desk: Desk) -> None:
    """It was public when the job was submitted."""
    with Receiver(ok) as inside:
        url = f"https://rebinding.test:{inside.port}/"
        desk.ended(url)
        desk.sender().round()
        assert inside.asked == []
    state, _, why = desk.outbox.outcome(desk.last_event())
    assert state == "waiting" and "not public" in why


def test_the_name_is_looked_up_once_for_a_request(desk: Desk) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.99"]

    with Receiver(ok) as receiver:
        desk.ended(f"http://hooks.test:{receiver.port}/")
        desk.sender("hooks.test", resolve=resolve).round()
        assert len(receiver.asked) == 1
    assert asked == ["hooks.test"]


@pytest.mark.parametrize(("name", "arrives"), [("hooks.test", True), ("other.test", False)])
def test_tls_asks_for_the_name_though_the_connection_is_to_an_address(
    desk: Desk, tmp_path: Path, name: str, arrives: bool
) -> None:
    certificate = make_certificate(tmp_path, name)
    trusted = ssl.create_default_context(cafile=str(certificate))
    with Receiver(ok, certificate) as receiver:
        desk.ended(f"https://hooks.test:{receiver.port}/")
        desk.sender("hooks.test", verify=trusted).round()
    assert bool(receiver.asked) == arrives
    assert desk.outbox.outcome(desk.last_event())[0] == ("delivered" if arrives else "waiting")


def test_a_certificate_that_nobody_vouches_for_is_refused(desk: Desk, tmp_path: Path) -> None:
    with Receiver(ok, make_certificate(tmp_path, "hooks.test")) as receiver:
        desk.ended(f"https://hooks.test:{receiver.port}/")
        desk.sender("hooks.test").round()
        assert receiver.asked == []


def test_the_thread_delivers_and_ends(desk: Desk) -> None:
    with Receiver(ok) as receiver, desk.sender("hooks.test"):
        desk.ended(f"http://hooks.test:{receiver.port}/")
        until = time.monotonic() + 60
        while not receiver.asked and time.monotonic() < until:
            time.sleep(0.02)
    assert len(receiver.asked) == 1


def test_the_services_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "webhook.secret"
    made: list[bytes] = []
    makers: Sequence[threading.Thread] = [
        threading.Thread(target=lambda: made.append(service_secret(file))) for _ in range(8)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(set(made)) == 1 and len(made[0]) == 32
    assert file.stat().st_mode & 0o777 == 0o600
