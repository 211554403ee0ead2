"""docs/observability.md says what the code says: fields, metrics, their kinds, labels and help."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from mwalimu.finetune.watching.observing import COUNTERS, GAUGES, TrainingMetrics
from mwalimu.jobs.http.metrics import ServiceMetrics
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.serving.metrics import Metrics
from mwalimu.synthesis.ask import Calls
from mwalimu.synthesis.limiter import Limiter
from mwalimu.synthesis.metrics import EngineMetrics
from mwalimu.telemetry.fields import FIELDS

SOURCE = Path(__file__).parents[2] / "src" / "mwalimu"
DOCS = Path(__file__).parents[2] / "docs" / "observability.md"
Row = tuple[str, ...]


def table(head: str) -> list[Row]:
    """The rows of the table whose first cell is `head`."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip().strip("`") for cell in line.strip("|").split(" | ")))
    return rows


def registries(folder: Path) -> Iterator[CollectorRegistry]:
    """Every room's metrics, each with something in it."""
    engine = EngineMetrics(CollectorRegistry())
    calls = Calls()
    calls.retries["HTTP 500"] += 1
    engine.teachers.append((("generate", "tiny"), calls, Limiter(1)))
    engine.rows["generate", "ok"] += 1
    engine.latency.labels("generate", "tiny").observe(1)
    training = TrainingMetrics(CollectorRegistry())
    keys = [key for _, key, _ in GAUGES.values()] + [key for _, key in COUNTERS.values()]
    training.trainings["finetune"] = dict.fromkeys(keys, 1)
    serving = Metrics()
    serving.watch(queued=lambda: 0, running=lambda: 0)
    cascade: Any = SimpleNamespace(counts={"escalated": 1}, spent_usd=0.0)
    serving.watch_cascade(cascade)
    serving.requests.labels("200").inc()
    store = JobStore(folder / "service.db")
    service = ServiceMetrics(store)
    service.answered("GET", "200", 1)
    leased: Any = SimpleNamespace(counts=store.counts, leases=lambda: [SimpleNamespace(slot="c")])
    service.store = leased
    for registry in (engine, training):
        own = CollectorRegistry()
        own.register(registry)  # type: ignore[arg-type]
        yield own
    latency = CollectorRegistry()
    latency.register(engine.latency)
    yield from (latency, serving.registry, service.registry)


def told(registries: Iterable[CollectorRegistry]) -> list[Row]:
    rows = []
    for registry in registries:
        for family in registry.collect():
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            name = family.name + ("_total" if family.type == "counter" else "")
            of = ", ".join(sorted(labels)) or "-"
            rows.append((name, family.type, of, family.documentation))
    return sorted(rows)


def test_the_table_of_fields_is_that_of_the_code() -> None:
    assert dict(table("field")) == FIELDS


def test_the_table_of_metrics_is_that_of_the_registries(tmp_path: Path) -> None:
    assert sorted(table("metric")) == told(registries(tmp_path))


def test_names_are_as_prometheus_wants_them(tmp_path: Path) -> None:
    for name, kind, labels, text in told(registries(tmp_path)):
        assert re.fullmatch(r"mwalimu(_[a-z]+)+", name), name
        assert text and not text.endswith("."), name
        assert name.endswith("_total") == (kind == "counter")
        assert kind != "histogram" or name.endswith("_seconds")
        assert not re.search(r"_(ms|mib|minutes|percent)(_|$)", name)
        assert labels == "-" or all(label.isalpha() for label in labels.split(", "))


def said(tree: ast.AST) -> Iterator[str]:
    """The events of every `say(...)` in it; in an f-string it is a run's or a stage's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("say", "logs.say"):
            first = node.args[0]
            if isinstance(first, ast.JoinedStr):
                rest = "".join(n.value for n in first.values if isinstance(n, ast.Constant))
                yield from (f"run{rest}", f"stage{rest}")
            elif isinstance(first, ast.IfExp):
                yield from (ast.literal_eval(first.body), ast.literal_eval(first.orelse))
            elif isinstance(first, ast.Constant):
                yield str(first.value)


def test_the_table_of_events_is_that_of_the_code() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    events = {event for tree in trees for event in said(tree)}
    assert {row[0] for row in table("event")} == events and len(events) > 10
