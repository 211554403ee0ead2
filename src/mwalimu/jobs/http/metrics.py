"""What Prometheus reads of the job service at `/metrics`; jobs are counted when it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.telemetry import metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServiceMetrics:
    """Of one service, in a registry of its own; a collector of what the store counts."""

    def __init__(self, store: JobStore, streams: Callable[[], int] = lambda: 0) -> None:
        self.store = store
        self.streams = streams
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mwalimu_service_requests",
            "answered, by HTTP status; 499: hung up",
            ("method", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "mwalimu_service_request_duration_seconds",
            "from the request's head to the last byte of its answer",
            registry=self.registry,
            buckets=metrics.SECONDS,
        )
        self.registry.register(self)
        metrics.include(self.registry)

    def answered(self, method: str, status: str, seconds: float) -> None:
        self.requests.labels(method, status).inc()
        self.request_seconds.observe(seconds)

    def collect(self) -> Iterator[Any]:
        states: Mapping[str, int] = self.store.counts()
        jobs = GaugeMetricFamily("mwalimu_jobs", "jobs of the service, by state", labels=("state",))
        for state in State:
            jobs.add_metric((state.value,), states.get(state.value, 0))
        yield jobs
        workers = GaugeMetricFamily("mwalimu_workers", "workers that have a job", labels=("slot",))
        for lease in self.store.leases():
            workers.add_metric((lease.slot,), 1)
        yield workers
        yield GaugeMetricFamily("mwalimu_event_streams", "streams open", value=self.streams())

    def render(self) -> bytes:
        return generate_latest(self.registry)
