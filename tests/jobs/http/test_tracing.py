"""A submission over HTTP, and whose trace its job is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.telemetry import tracing
from tests.jobs.http.configs import ROWS
from tests.jobs.service import running
from tests.telemetry.collector import collector
from tests.telemetry.watching import watched

CONFIG = {
    "task": "generic",
    "data": {"train": "dataset:good"},
    "teacher": {"model": "fake"},
    "student": {"model": "phi-4-mini"},
}
GIVEN = f"00-{'5' * 32}-{'7' * 16}-01"


def test_a_job_is_of_the_request_that_submitted_it_and_a_repeated_one_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with collector() as found:
        monkeypatch.setenv(tracing.ENDPOINTS[0], found.url)
        with watched(tmp_path / "log"), running(tmp_path / "w") as place, place.client() as client:
            client.put("/v1/datasets/good", content=ROWS)
            sent = {"Idempotency-Key": "one", "traceparent": GIVEN}
            answers = [
                client.post("/v1/jobs", json={"config": CONFIG}, headers=sent) for _ in range(2)
            ]
            assert {answer.status_code for answer in answers} <= {200, 201}, answers[0].text
            (job,) = place.service.store.jobs()
            assert "trace" not in client.get(f"/v1/jobs/{job.name}").json()
    posts = [span for span in found.spans() if span.name == "POST"]
    assert {span.trace for span in posts} == {"5" * 32} and len(posts) == 2
    assert job.trace["traceparent"] in {f"00-{span.trace}-{span.id}-01" for span in posts}
