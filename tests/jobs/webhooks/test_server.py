"""A real server that is killed while it tells of a job's end: the next one tells it again."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest

from mwalimu.jobs import Client
from mwalimu.jobs.webhooks.signing import verified
from tests.jobs.client.scripted import Answer, Asked
from tests.jobs.servers import Servers
from tests.jobs.webhooks.receiver import Receiver


@pytest.mark.slow
def test_an_end_is_told_whatever_kills_the_server(tmp_path: Path) -> None:
    here, go_on = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Answer:
        here.set()
        go_on.wait(30)
        return Answer(204)

    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": "Hello"}]}) + "\n"
    )
    config = {
        "task": "generic",
        "data": {"train": "rows.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    servers = Servers(tmp_path / "service", webhook_hosts=["127.0.0.1"])
    with Receiver(answer) as receiver:
        place = servers.start()
        with Client(place.url, place.token) as client:
            secret = client.webhook_secret()
            asked = {"config": config, "webhook": f"http://127.0.0.1:{receiver.port}/end"}
            job = client.submit_with_files(asked, base=tmp_path)
            client.cancel(job.name)
        assert here.wait(10)
        servers.end(signal.SIGKILL)
        go_on.set()
        servers.start()
        until = time.monotonic() + 10
        while len(receiver.asked) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        servers.end()
    first, second = receiver.asked
    assert first.body == second.body and json.loads(second.body)["job"] == job.name
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert verified(secret, second.headers, second.body, time.time())
