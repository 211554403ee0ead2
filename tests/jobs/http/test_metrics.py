"""What Prometheus reads of the service is what the store holds and what was asked."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from mwalimu.jobs.records import Role, Spec
from tests.jobs.service import running

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Found:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_jobs_workers_and_requests_are_counted(tmp_path: Path) -> None:
    with running(tmp_path) as place, place.client(Role.VIEWER) as client:
        store = place.service.store
        for name in ("a", "b", "c"):
            store.submit(Spec("distillation", {}), owner="sam", name=name)
        store.cancel("c")
        lease = store.claim("cpu-0", "cpu")
        assert lease is not None
        client.get("/v1/jobs")
        client.get("/v1/jobs/none")
        found = read(client.get("/metrics").text)
    assert found["mwalimu_jobs", (("state", "Queued"),)] == 1
    assert found["mwalimu_jobs", (("state", "Starting"),)] == 1
    assert found["mwalimu_jobs", (("state", "Canceled"),)] == 1
    assert found["mwalimu_jobs", (("state", "Failed"),)] == 0
    assert found["mwalimu_workers", (("slot", "cpu-0"),)] == 1
    assert found["mwalimu_event_streams", ()] == 0
    asked = {labels: n for (name, labels), n in found.items() if "requests_total" in name}
    assert asked == {
        (("method", "GET"), ("status", "200")): 1,
        (("method", "GET"), ("status", "404")): 1,
    }
    assert found["mwalimu_service_request_duration_seconds_count", ()] == 2


def test_a_request_has_its_name_back_also_where_it_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as place, place.client() as client:
        for path, headers in (("/health", {}), ("/v1/jobs", {"Host": "evil.example"})):
            sent = {"X-Request-Id": "mine-1", **headers}
            assert client.get(path, headers=sent).headers["x-request-id"] == "mine-1"
        drawn = {client.get("/health").headers["x-request-id"] for _ in range(3)}
        assert len(drawn) == 3


def test_a_method_that_nobody_knows_makes_no_series_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path) as place, place.client() as client:
        for number in range(20):
            client.request(f"ODD{number}", "/v1/jobs")
        text = client.get("/metrics").text
    assert 'method="other"' in text and "ODD" not in text
