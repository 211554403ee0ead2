"""Files of rows as they come over the wire: whole, bounded, checked, and gone if they are not."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mwalimu.jobs.http.limits import Limits
from mwalimu.jobs.http.routes import datasets
from mwalimu.jobs.http.server import Server
from mwalimu.jobs.http.threads import AT_ONCE
from mwalimu.jobs.records import Role
from mwalimu.jobs.settings import DEFAULTS
from tests.jobs.service import Running, running

LIMITS = Limits(max_body=4096, max_upload=200_000, max_line=5000, body_timeout=0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("uploads"), limits=LIMITS) as found:
        yield found


def rows(number: int, text: str = "q") -> bytes:
    lines = [{"prompt": f"{text}{i}", "completion": "a"} for i in range(number)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def kept(place: Running) -> list[str]:
    return sorted(path.name for path in place.service.workspace.datasets.glob("*"))


def test_what_is_uploaded_is_what_lies_there(place: Running) -> None:
    content = rows(20)
    with place.client() as client:
        told = client.put("/v1/datasets/tickets?task=qa", content=content).json()
        again = client.put("/v1/datasets/tickets?task=qa", content=content).json()
        other = client.put("/v1/datasets/tickets?task=qa", content=rows(21)).json()
        checked = client.post("/v1/datasets/validate?task=qa", content=content).json()
    digest = hashlib.sha256(content).hexdigest()
    assert (told["version"], told["rows"], told["sha256"]) == (1, 20, digest)
    assert (told["owner"], told["task"], told["size"]) == ("sam", "qa", len(content))
    assert again == told and other["version"] == 2
    assert checked == {"rows": 20, "size": len(content), "sha256": digest}
    assert (place.service.workspace.datasets / f"{digest}.jsonl").read_bytes() == content


def test_a_bad_file_tells_every_row_and_leaves_nothing(place: Running) -> None:
    before = kept(place)
    content = rows(2) + b"{x\n" + rows(1, "r") + b'[1]\n{"prompt": 1}\n\xff\n'
    with place.client() as client:
        for method, path in (("PUT", "/v1/datasets/bad"), ("POST", "/v1/datasets/validate")):
            answer = client.request(method, path, content=content)
            error = answer.json()["error"]
            assert answer.status_code == 400 and error["code"] == "not_valid"
            assert [row["line"] for row in error["rows"]] == [3, 5, 6, 7]
            assert all(row["problem"] and row["fix"] for row in error["rows"])
        for empty in (b"", b"\n\n"):
            assert client.put("/v1/datasets/bad", content=empty).status_code == 400
        assert client.get("/v1/datasets/bad").status_code == 404
    assert kept(place) == before


def test_sizes_are_bounded(place: Running) -> None:
    before = kept(place)
    long = json.dumps({"prompt": "x" * 6000, "completion": "a"}).encode()

    def pieces() -> Iterator[bytes]:
        """Without a length: what is too much is only known when it is there."""
        for _ in range(100):
            yield rows(100)

    with place.client() as client:
        for content, what in ((rows(10_000), "body"), (pieces(), "body"), (long, "line")):
            answer = client.put("/v1/datasets/large", content=content)
            assert answer.status_code == 413 and what in answer.json()["error"]["what"]
        big = {"config": {"task": "x" * 5000}}
        assert client.post("/v1/jobs", json=big).status_code == 413
    assert kept(place) == before


def test_a_line_is_measured_across_its_pieces(place: Running) -> None:
    line = json.dumps({"prompt": "x" * 4900, "completion": "a"}).encode() + b"\n"
    assert 4900 < len(line) <= LIMITS.max_line

    def pieces(content: bytes) -> Iterator[bytes]:
        for i in range(0, len(content), 7):
            yield content[i : i + 7]

    with place.client() as client:
        good = client.post("/v1/datasets/validate", content=pieces(line * 3))
        assert good.json()["rows"] == 3
        bad = client.post("/v1/datasets/validate", content=pieces(line[:-1] * 2))
        assert bad.status_code == 413


def raw(place: Running, head: str, body: bytes = b"") -> socket.socket:
    host, port = place.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=5)
    token = place.tokens[Role.SUBMITTER]
    text = f"{head} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    connection.sendall(text.encode() + b"Content-Length: 100\r\n\r\n" + body)
    return connection


def test_a_body_that_does_not_come_is_not_waited_for(place: Running) -> None:
    for head in ("PUT /v1/datasets/slow", "POST /v1/datasets/validate"):
        with raw(place, head, b'{"prompt"') as connection:
            begun = time.monotonic()
            assert b"408" in connection.recv(100).split(b"\r\n")[0]
            assert time.monotonic() - begun < 3


def test_who_hangs_up_leaves_nothing_behind(place: Running) -> None:
    before = kept(place)
    raw(place, "PUT /v1/datasets/gone", rows(1)).close()
    end = time.monotonic() + 60
    while kept(place) != before:
        assert time.monotonic() < end
        time.sleep(0.02)
    with place.client() as client:
        assert client.get("/v1/datasets/gone").status_code == 404


def test_long_work_keeps_nothing_else_waiting(
    place: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More uploads than there are threads for them are being checked; others are answered."""
    begun, end = threading.Semaphore(0), threading.Event()

    def slow(*given: Any, **named: Any) -> int:
        begun.release()
        assert end.wait(20)
        return 1

    monkeypatch.setattr(datasets, "checked", slow)
    with place.client() as client, ThreadPoolExecutor(60) as callers:
        asked = [
            callers.submit(client.post, "/v1/datasets/validate", content=rows(1)) for _ in range(60)
        ]
        for _ in range(AT_ONCE):
            assert begun.acquire(timeout=10)
        try:
            with place.client() as other:
                for path in ("/health", "/v1/me", "/v1/jobs", "/v1/events") * 5:
                    assert other.get(path, timeout=3).status_code == 200
        finally:
            end.set()
        assert [one.result().status_code for one in asked] == [200] * 60


def test_what_an_earlier_server_left_unfinished_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "datasets"
    folder.mkdir()
    (folder / ".upload-0123.jsonl").write_bytes(b"{")
    (folder / "kept.jsonl").write_bytes(b"{}")
    with running(tmp_path):
        assert [path.name for path in folder.iterdir()] == ["kept.jsonl"]


def test_a_dataset_in_use_stays(place: Running) -> None:
    config = {
        "task": "qa",
        "data": {"train": "dataset:used"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    with place.client() as client:
        digest = client.put("/v1/datasets/used", content=rows(3, "u")).json()["sha256"]
        job = client.post("/v1/jobs", json={"config": config}).json()["name"]
        assert client.delete("/v1/datasets/used").status_code == 409
        assert client.get(f"/v1/jobs/{job}/config").json()["data"]["train"] == "dataset:used@1"
        client.post(f"/v1/jobs/{job}/cancel")
        assert client.delete("/v1/datasets/used").status_code == 204
    assert f"{digest}.jsonl" not in kept(place)


def test_a_quota_is_a_429(tmp_path: Path) -> None:
    quotas = DEFAULTS.quotas.model_copy(
        update={"default": DEFAULTS.quotas.default.model_copy(update={"dataset_bytes": 300})}
    )
    settings = DEFAULTS.model_copy(update={"quotas": quotas})
    with running(tmp_path, settings=settings) as place, place.client() as client:
        assert client.put("/v1/datasets/one", content=rows(5)).status_code == 201
        answer = client.put("/v1/datasets/two", content=rows(6))
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "quota"
        assert len(kept(place)) == 1
        used = client.get("/v1/me").json()
        assert used["quota"]["dataset_bytes"] == 300 and 0 < used["used"]["dataset_bytes"] < 300


def test_one_key_makes_one_job(place: Running) -> None:
    config = {
        "task": "qa",
        "prompts": {"method": "self_instruct", "rows": 1, "topics": ["tea"]},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    headers = {"Idempotency-Key": "drawn-once"}
    with place.client() as client:
        asked: dict[str, Any] = {"json": {"config": config}, "headers": headers}
        first, second = (client.post("/v1/jobs", **asked).json()["name"] for _ in range(2))
        assert first == second
        assert client.post("/v1/jobs", json={"config": config}).json()["name"] != first
        named = {"config": config, "name": "taken"}
        assert client.post("/v1/jobs", json=named).status_code == 201
        assert client.post("/v1/jobs", json=named).status_code == 409


def test_a_certificate_makes_it_https(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    asked = ["openssl", "req", *kind.split(), *subject.split(), *files]
    subprocess.run(asked, check=True, capture_output=True)
    trusted = ssl.create_default_context(cafile=certificate)
    with running(tmp_path / "w", certificate=certificate, key=key) as place:
        assert place.url.startswith("https://")
        assert httpx2.get(f"{place.url}/health", verify=trusted).json() == {"status": "ok"}
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(place.url.replace("https", "http") + "/health")


def test_a_port_that_is_taken_is_one_line(place: Running) -> None:
    from mwalimu.errors import ConfigError

    port = int(place.url.rpartition(":")[2])
    server = Server(place.server.app, host="127.0.0.1", port=port)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="cannot listen there"):
        server.listen(lambda: None)
