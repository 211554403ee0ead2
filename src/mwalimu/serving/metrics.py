"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mwalimu.serving.cascade_contract import Cascade
from mwalimu.telemetry import metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics.include(self.registry)
        self.requests = self._counter(
            "requests", "answered, by HTTP status; 499: hung up", "status"
        )
        self.prompt_tokens = self._counter("prompt_tokens", "read")
        self.completion_tokens = self._counter("completion_tokens", "generated")
        self.escalated = self._counter("escalated", "answers that the cascade replaced")
        self.first_token_seconds = self._histogram(
            "first_token_seconds", "from being queued to the first token"
        )
        self.request_seconds = self._histogram(
            "request_seconds", "from the request's head to the last byte of its answer"
        )

    def watch(self, *, queued: Callable[[], int], running: Callable[[], int]) -> None:
        for name, text, value in (
            ("queue_depth", "answers that wait for a slot", queued),
            ("slots_in_use", "answers that are being written", running),
        ):
            gauge = Gauge(f"mwalimu_{name}", text, registry=self.registry)
            gauge.set_function(value)

    def watch_cascade(self, cascade: Cascade) -> None:
        self.registry.register(_CascadeMetrics(cascade))

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mwalimu_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"mwalimu_{name}", text, registry=self.registry, buckets=metrics.SECONDS)


class _CascadeMetrics:
    """A collector of what the cascade counts."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade

    def collect(self) -> Iterator[Any]:
        answers = CounterMetricFamily(
            "mwalimu_cascade_answers",
            "the student's answers that the cascade saw, by what became of them",
            labels=("outcome",),
        )
        for outcome, number in dict(self.cascade.counts).items():
            answers.add_metric((outcome,), number)
        yield answers
        yield CounterMetricFamily(
            "mwalimu_cascade_cost_usd",
            "what the fallback cost in all lives of the server on its traffic folder",
            value=self.cascade.spent_usd,
        )
