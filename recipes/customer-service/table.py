"""What was measured, beside the published case: one table, and the goals, met or missed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mwalimu.evaluation.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_ratio,
    mean_interval,
)

DRAWS, SEED = 2000, 0
CASE = {
    "parameters": ("671B", "14B"),
    "memory": ("1.2 TB", "60 GB"),
    "latency": ("3.2 s", "0.48 s"),
    "accuracy": ("94.5 %", "87.0 %"),
    "queries": ("50", "500"),
}
"""`performance_comparison` of the case, as it was published: teacher and student."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`found` with its 95 % interval (None: a count, which has none) against what is wanted."""

    name: str
    unit: str
    published: str
    wanted: float
    found: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        if self.found < self.wanted:
            return "missed"
        return "met" if self.low is None or self.low >= self.wanted else "met, not surely"

    def line(self) -> str:
        shown = f"{self.found:,.1f}{self.unit}"
        if self.low is not None:
            shown += f" [{self.low:,.1f}, {self.high:,.1f}]"
        wanted = f"{self.wanted:g}{self.unit}"
        return f"| {self.name} | {self.published} | {wanted} | {shown} | {self.verdict} |"


def scores_of(path: Path) -> list[float]:
    """Of each test row, in order."""
    return [float(json.loads(line)["score"]) for line in path.read_bytes().splitlines()]


def goals(
    measured: dict[str, Any], scores: dict[str, list[float]], pair: Sequence[str]
) -> list[Goal]:
    """`pair` names the teacher and the student compared; accuracy only where both were graded."""
    teacher, student = (measured["arms"][name] for name in pair)
    own, other = (scores.get(name) for name in reversed(pair))
    kept = (
        [Goal("accuracy kept", " %", "92 %", 98, *_ratio(own, other, 100))] if own and other else []
    )
    times = {
        name: _ratio(_column(student, *where), _column(teacher, *where))
        for name, where in (("load", ("load", "per_s")), ("within", ("within", "per_s")))
    }
    per_core = _ratio(_column(teacher, "load", "cpu_s"), _column(student, "load", "cpu_s"))
    latency = {
        kind: _reduced(student["latency"][kind], teacher["latency"][kind])
        for kind in ("clock_s", "cpu_s")
    }
    cost = _reduced(_column(student, "load", "cpu_s"), _column(teacher, "load", "cpu_s"))
    memory = {
        field: 100 * (1 - student[field] / teacher[field])
        for field in ("weights_mib", "alone_mib", "peak_mib")
    }
    return [
        Goal("latency less, by the clock", " %", "85 %", 95, *latency["clock_s"]),
        Goal("latency less, processor time", " %", "85 %", 95, *latency["cpu_s"]),
        Goal("memory less, weights", " %", "95 %", 97, memory["weights_mib"]),
        Goal("memory less, the runtime's process", " %", "95 %", 97, memory["alone_mib"]),
        Goal("memory less, the whole server", " %", "95 %", 97, memory["peak_mib"]),
        *kept,
        Goal("cost less", " %", "60 %", 90, *cost),
        Goal("queries, times as many, 8 clients, by the clock", "x", "10x", 20, *times["load"]),
        Goal("the same of one core's time", "x", "10x", 20, *per_core),
        Goal("the same within one p95", "x", "10x", 20, *times["within"]),
    ]


def write_table(
    folder: Path,
    measured: dict[str, Any],
    scores: dict[str, list[float]],
    about: dict[str, Any],
    *,
    pairs: Sequence[tuple[str, str]],
    usd_per_core_hour: float,
) -> str:
    """Writes `table.json` and `table.md` into `folder`; returns the latter's text.

    `pairs` are (teacher, student), each held against the goals.
    """
    found = {
        f"{student} against {teacher}": goals(measured, scores, (teacher, student))
        for teacher, student in pairs
    }
    (folder / "table.json").write_text(
        json.dumps(
            {
                "about": about,
                "usd_per_core_hour": usd_per_core_hour,
                "accuracy": {name: _accuracy(one)._asdict() for name, one in scores.items()},
                "goals": {
                    pair: [asdict(goal) | {"verdict": goal.verdict} for goal in them]
                    for pair, them in found.items()
                },
                "measured": measured,
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    text = "\n".join(
        [
            *_comparison(measured, scores, usd_per_core_hour),
            *(line for pair, them in found.items() for line in _held(pair, them)),
            "",
            *(f"- {key}: {value}" for key, value in about.items()),
            f"- load average when it was measured: {measured['load_average']:.1f} on "
            f"{measured['cores']} cores",
        ]
    )
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def _held(pair: str, found: Sequence[Goal]) -> list[str]:
    return [
        "",
        f"{pair[0].upper()}{pair[1:]}, with 95 % intervals:",
        "",
        "| | published case | goal | measured | |",
        "|---|--:|--:|--:|---|",
        *(goal.line() for goal in found),
    ]


def _comparison(
    measured: dict[str, Any], scores: dict[str, list[float]], usd_per_core_hour: float
) -> list[str]:
    arms = measured["arms"]

    def row(name: str, case: str | None, cells: list[str]) -> str:
        published = CASE[case] if case else ("", "")
        return "| " + " | ".join([name, *published, *cells]) + " |"

    def each(show: Any) -> list[str]:
        return [show(name, arm) for name, arm in arms.items()]

    def latency(kind: str) -> list[str]:
        return each(lambda _, arm: _shown(_mean(arm["latency"][kind]), 1000))

    def under_load(where: str, scale: float) -> list[str]:
        return each(lambda _, arm: _shown(_mean(_column(arm, where, "per_s")), scale, 0))

    cost = 1000 / 3600 * usd_per_core_hour * 1e6
    return [
        f"| | case: teacher | case: student | {' | '.join(arms)} |",
        "|---|--:|--:|" + "--:|" * len(arms),
        row("parameters", "parameters", each(lambda _, arm: f"{arm['parameters'] / 1e6:.2f} M")),
        row("memory of the weights, MiB", "memory", each(lambda _, a: f"{a['weights_mib']:.2f}")),
        row("the runtime's process, MiB", None, each(lambda _, a: f"{a['alone_mib']:.0f}")),
        row("the whole server, MiB", None, each(lambda _, a: f"{a['peak_mib']:.0f}")),
        row("latency of an answer, ms", "latency", latency("clock_s")),
        row("its processor time, ms", None, latency("cpu_s")),
        row("accuracy, %", "accuracy", each(lambda name, _: _percent(scores.get(name)))),
        row("queries an hour, 8 clients", "queries", under_load("load", 3600)),
        row(
            "queries an hour of one core's time",
            None,
            each(lambda _, a: _shown(_mean([1 / s for s in _column(a, "load", "cpu_s")]), 3600, 0)),
        ),
        row(
            f"queries an hour, p95 within {1000 * measured['bound_p95_s']:.0f} ms",
            None,
            under_load("within", 3600),
        ),
        row(
            "cost of 1,000 answers, millionths of a dollar",
            None,
            each(lambda _, a: _shown(_mean(_column(a, "load", "cpu_s")), cost, 0)),
        ),
    ]


def _column(arm: dict[str, Any], where: str, field: str) -> list[float]:
    return [float(one[field]) for one in arm[where]]


def _mean(values: Sequence[float]) -> Interval:
    return bootstrap_mean(values, draws=DRAWS, seed=SEED)


def _accuracy(scores: Sequence[float]) -> Interval:
    return mean_interval(scores, draws=DRAWS, seed=SEED)


def _ratio(values: Sequence[float], others: Sequence[float], scale: float = 1) -> Interval:
    """Of the means, pairs drawn together; 0 where the others are 0."""
    found = bootstrap_ratio(values, others, draws=DRAWS, seed=SEED) or Interval(0, 0, 0)
    return Interval(*(scale * end for end in found))


def _reduced(values: Sequence[float], others: Sequence[float]) -> Interval:
    """Percent by which the means of `values` are below those of `others`."""
    ratio = _ratio(values, others)
    return Interval(*(100 * (1 - end) for end in (ratio.mean, ratio.high, ratio.low)))


def _percent(scores: Sequence[float] | None) -> str:
    return _shown(_accuracy(scores), 100) if scores else ""


def _shown(found: Interval, scale: float, digits: int = 1) -> str:
    mean, low, high = (f"{scale * end:,.{digits}f}" for end in found)
    return f"{mean} [{low}, {high}]"
