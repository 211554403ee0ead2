"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """Of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mwalimu_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"mwalimu_{name}", text, registry=self.registry, buckets=_SECONDS)
