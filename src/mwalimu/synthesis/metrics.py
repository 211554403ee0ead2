"""What Prometheus sees of the engine. All but the latency is what the ledger counts anyway, read
when somebody asks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mwalimu.synthesis.ask import Asker, Calls
from mwalimu.synthesis.limiter import Limiter
from mwalimu.telemetry import context, metrics
from mwalimu.telemetry.redaction import redact

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LABELS = ("stage", "teacher")
COUNTERS: dict[str, tuple[str, Callable[[Calls], float]]] = {
    "mwalimu_teacher_requests_sent": ("went out", lambda c: c.sent),
    "mwalimu_teacher_requests_answered": ("came back and were stored", lambda c: c.answered),
    "mwalimu_teacher_requests_reused": ("were in the answer store already", lambda c: c.reused),
    "mwalimu_teacher_requests_repeated": (
        "went out in an earlier life too, with an end that nobody saw",
        lambda c: c.repeated,
    ),
    "mwalimu_teacher_requests_ambiguous": (
        "failed, and may have been billed",
        lambda c: c.ambiguous,
    ),
    "mwalimu_teacher_prompt_tokens": ("of the answers used", lambda c: c.prompt_tokens),
    "mwalimu_teacher_completion_tokens": ("of the answers used", lambda c: c.completion_tokens),
    "mwalimu_teacher_cost_usd": ("price of the answers used", lambda c: c.nano_usd / 1e9),
    "mwalimu_teacher_unpriced_answers": ("whose price is unknown", lambda c: c.unpriced),
}
GAUGES: dict[str, tuple[str, Callable[[Limiter], float]]] = {
    "mwalimu_teacher_requests_in_flight": (
        "are under way now",
        lambda one: one.in_flight,
    ),
    "mwalimu_teacher_concurrency_limit": (
        "that may be under way at once now",
        lambda one: one.limit,
    ),
    "mwalimu_teacher_rate_limit_per_second": (
        "requests a second that the limiter lets go; +Inf without a limit",
        lambda one: one.rate,
    ),
}
RETRIES = ("mwalimu_teacher_retries", "sendings that failed and could be repeated, by reason")
ROWS = ("mwalimu_rows", "rows with an outcome, by its status")
LATENCY = (
    "mwalimu_teacher_request_duration_seconds",
    "from a request's sending to its answer; a batch is one",
)


def latency(teacher: str) -> Callable[[float], None]:
    """What is told the seconds of a sending."""
    engine = metrics.collector(EngineMetrics)
    if engine is None:
        return lambda seconds: None
    histogram = engine.latency.labels(_stage(), redact(teacher))
    return lambda seconds: histogram.observe(seconds)


def watch(asker: Asker) -> None:
    """From now on, and after its job has ended, its counts are told."""
    if (engine := metrics.collector(EngineMetrics)) is not None:
        labels = _stage(), redact(asker.teacher.info.model)
        engine.teachers.append((labels, asker.calls, asker.limiter))


def count_row(status: str) -> None:
    if (engine := metrics.collector(EngineMetrics)) is not None:
        engine.rows[_stage(), status] += 1


def _stage() -> str:
    return str(context.field("stage") or "")


class EngineMetrics:
    """A collector. `teachers` are those of all jobs of this process, ended ones too: their counts,
    not themselves, which may hold a model's weights."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Histogram

        self.teachers: list[tuple[tuple[str, str], Calls, Limiter]] = []
        self.rows: Counter[tuple[str, str]] = Counter()
        self.latency: Any = Histogram(*LATENCY, LABELS, registry=registry, buckets=metrics.SECONDS)
        registry.register(self)

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        found: dict[tuple[str, str], list[Calls]] = defaultdict(list)
        limiters: dict[tuple[str, str], Limiter] = {}
        for labels, calls, limiter in tuple(self.teachers):
            found[labels].append(calls)
            limiters[labels] = limiter
        for name, (text, count) in COUNTERS.items():
            family = CounterMetricFamily(name, text, labels=LABELS)
            for labels, of_labels in found.items():
                family.add_metric(labels, sum(map(count, of_labels)))
            yield family
        for name, (text, value) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for labels, limiter in limiters.items():
                gauge.add_metric(labels, value(limiter))
            yield gauge
        retries = CounterMetricFamily(*RETRIES, labels=(*LABELS, "reason"))
        for labels, of_labels in found.items():
            reasons: Counter[str] = Counter()
            for calls in of_labels:
                reasons.update(dict(calls.retries))
            for reason, number in reasons.items():
                retries.add_metric((*labels, redact(reason)), number)
        yield retries
        rows = CounterMetricFamily(*ROWS, labels=("stage", "status"))
        for (stage, status), number in dict(self.rows).items():
            rows.add_metric((stage, status), number)
        yield rows
