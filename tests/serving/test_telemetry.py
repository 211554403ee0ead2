"""A request's name: the client's or one that is drawn, told back, and on every line about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mwalimu.serving.cascade import CascadeOptions
from mwalimu.telemetry import logs, setting_up, tracing
from tests.serving.running import Running, running
from tests.serving.test_beside import run_folder
from tests.serving.test_server import CHAT, ask
from tests.synthesis.teacher_server import TeacherServer
from tests.telemetry.collector import collector
from tests.telemetry.watching import lines, watched

OTEL = "opentelemetry.exporter.otlp.proto.http"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    with watched(tmp_path / "log.jsonl"):
        yield tmp_path / "log.jsonl"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("abc-123.x:y_z", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ("", False),
        ("a\tb", False),
        ('"><script>', False),
        ("{}", False),
    ],
)
def test_a_request_has_its_clients_name_if_that_is_one(
    server: Running, given: str, taken: bool
) -> None:
    told = ask(server, None, path="/health", X_Request_Id=given)[2]["x-request-id"]
    assert (told == given) is taken and len(told) >= (1 if taken else 32)


def test_two_requests_have_two_names(server: Running) -> None:
    names = {ask(server, None, path="/nowhere")[2]["x-request-id"] for _ in range(3)}
    assert len(names) == 3


def test_a_request_is_followed_to_the_teacher(
    log: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mwalimu.serving.beside import cascade_beside

    with TeacherServer() as teacher:
        target = run_folder(tmp_path, teacher.url)
        options = CascadeOptions(below=0.0)
        with (
            cascade_beside(target, options, print, below="1") as cascade,
            running(folder, cascade=cascade) as server,
        ):
            status, body, _ = ask(server, CHAT | {"max_tokens": 50}, X_Request_Id="mine-1")
            metrics = str(ask(server, None, path="/metrics")[1])
    assert status == 200 and body["choices"][0]["message"]["content"] == "echo hello"
    (http,) = (line for line in lines(log, "http") if line["path"] == "/v1/chat/completions")
    assert (http["http_request"], http["method"], http["status"]) == ("mine-1", "POST", "200")
    (asked,) = lines(log, "request")
    assert asked["http_request"] == "mine-1" and asked["status"] == "answered"
    assert len(asked["request"]) == 64
    assert 'mwalimu_cascade_answers_total{outcome="escalated"} 1.0' in metrics
    assert "mwalimu_cascade_cost_usd_total 0.0" in metrics
    assert "hello" not in log.read_text()


def test_a_trace_goes_from_the_client_through_the_server_to_the_teacher(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(OTEL)
    from mwalimu.serving.beside import cascade_beside

    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collector() as found, TeacherServer() as teacher:
        monkeypatch.setenv(tracing.ENDPOINTS[0], found.url)
        setting_up.begin()
        try:
            target = run_folder(tmp_path, teacher.url)
            with (
                cascade_beside(target, CascadeOptions(below=0.0), print, below="1") as cascade,
                running(folder, cascade=cascade) as server,
            ):
                ask(server, CHAT | {"max_tokens": 50}, traceparent=f"00-{trace}-{parent}-01")
        finally:
            setting_up.end()
    by_kind = {span.kind: span for span in found.spans()}
    assert {span.trace for span in by_kind.values()} == {trace}
    assert by_kind["server"].parent == parent
    assert by_kind["client"].parent == by_kind["server"].id
    attributes = by_kind["server"].attributes
    assert attributes["http.request.method"] == "POST"
    assert attributes["http.response.status_code"] == 200
    assert attributes["http.route"] == attributes["url.path"] == "/v1/chat/completions"


def test_a_failure_of_the_server_is_a_line_with_its_place(
    log: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mwalimu.serving.metrics import Metrics

    def broken(_self: object) -> bytes:
        raise ValueError("what a prompt says")

    with running(folder) as server:
        monkeypatch.setattr(Metrics, "render", broken)
        assert ask(server, None, path="/metrics", X_Request_Id="bad-1")[0] == 500
    (line,) = lines(log, "a request failed")
    assert line["http_request"] == "bad-1" and line["error"] == "ValueError"
    assert "test_telemetry.py" in line["traceback"]
    assert "what a prompt says" not in log.read_text()
    assert logs.is_on()
