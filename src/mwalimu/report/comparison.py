"""Run folders -> comparison.md and comparison.html: the first run against each other one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mwalimu.errors import RunError
from mwalimu.evaluation.statistics import compared
from mwalimu.files import atomic_writer
from mwalimu.report import plots
from mwalimu.report.facts import PLOTS_NEED, rows_of
from mwalimu.report.funnel import funnel
from mwalimu.report.verdict import ALPHA, by_name, curve
from mwalimu.report.wording import DISTILLED, Row, p_value, points
from mwalimu.report.write import render, stages_of
from mwalimu.run import Run

DRAWS, SEED = 2000, 0  # of the bootstrap
ABSENT = "not set"


def write_comparison(runs: Sequence[Run], folder: Path) -> tuple[Path, Path]:
    """Writes both files into `folder`; the same runs give the same bytes.

    Raises:
        RunError: a folder has no finished finetune stage.
    """
    facts = compare(runs)
    paths = folder / "comparison.md", folder / "comparison.html"
    for path in paths:
        with atomic_writer(path) as handle:
            text = render(facts, path.suffix[1:], "comparison.jinja")
            handle.write(text.encode("utf-8", "backslashreplace"))
    return paths


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything that the template names."""
    if len(runs) < 2:
        raise RunError("a comparison needs two runs", where="report", fix="name another run folder")
    sides = [_Side(name, run) for name, run in zip(_names(runs), runs, strict=True)]
    tests = [_tested(sides[0], other) for other in sides[1:]]
    return {
        "sides": [side.facts() for side in sides],
        "tests": tests,
        "verdict": _verdict(tests),
        "settings": list(differing([side.config for side in sides])),
        "plots": _plots(sides),
        "plots_need": PLOTS_NEED,
    }


class _Side:
    """One run as it is compared."""

    def __init__(self, name: str, run: Run) -> None:
        stages = stages_of(run)
        self.name = name
        self.run = run
        self.rows = partial(rows_of, run, stages)
        self.training = stages["finetune"].summary
        self.scores = stages["evaluate"].summary if "evaluate" in stages else None
        self.student = by_name(self.scores).get(DISTILLED) or {}
        self.config: Row = run.manifest.get("config") or {}

    def facts(self) -> dict[str, Any]:
        ledger: Row = next(self.rows("generate", "generate/ledger.json"), {})
        steps = funnel(self.rows)
        return {
            "name": self.name,
            "folder": str(self.run.root),
            "student": self.student,
            "retention": (self.scores or {}).get("retention"),
            "training": self.training,
            "learned": steps[-1].rows_out if steps else None,
            "usd": ledger.get("usd"),
        }

    def predictions(self) -> list[Row]:
        return list(self.rows("evaluate", f"evaluate/predictions/{DISTILLED}.jsonl"))

    def losses(self) -> list[tuple[float, float]]:
        return curve(self.rows("finetune", "finetune/metrics.jsonl"), "validation_loss")


def _names(runs: Sequence[Run]) -> list[str]:
    """The folders' own names; as long as needed to tell them apart."""
    paths = [run.root.resolve().parts for run in runs]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise RunError("a run is named twice", where=str(runs[0].root), fix="name two folders")


def _tested(first: _Side, other: _Side) -> dict[str, Any]:
    names = {"first": first.name, "other": other.name}
    return names | paired(first.predictions(), other.predictions())


def paired(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, Any]:
    """The paired test of two students' graded rows; `why_not` where they are not the same rows."""
    if not ours or not theirs:
        return {"why_not": "not evaluated"}
    asked = [[(row["id"], row["reference"]) for row in side] for side in (ours, theirs)]
    if asked[0] != asked[1]:
        return {"why_not": "other test rows"}
    scores, others = ([row["score"] for row in side] for side in (ours, theirs))
    return {"why_not": None} | compared(scores, others, draws=DRAWS, seed=SEED)


def _verdict(tests: Sequence[Mapping[str, Any]]) -> str:
    sentences = []
    for test in tests:
        if test["why_not"]:
            sentences.append(f"{test['first']} and {test['other']}: {test['why_not']}.")
            continue
        better = "better" if test["difference"]["mean"] > 0 else "worse"
        how = f"significantly {better} than" if test["p_value"] < ALPHA else "no different from"
        by = f"{points(test['difference'])}, {p_value(test['p_value'])}"
        sentences.append(f"The student of {test['first']} is {how} that of {test['other']} ({by}).")
    return " ".join(sentences)


def differing(configs: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """Each setting that is not the same in all of them, with its value in each."""
    flat = [dict(_flat(config)) for config in configs]
    for key in sorted(set(chain.from_iterable(flat))):
        values = [str(config.get(key, ABSENT)) for config in flat]
        if len(set(values)) > 1:
            yield key, values


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plots(sides: Sequence[_Side]) -> dict[str, Markup] | None:
    """None without matplotlib."""
    drawn: dict[str, str] = {}
    scored = {side.name: side.student for side in sides if side.student}
    losses = {side.name: points for side in sides if (points := side.losses())}
    try:
        if scored:
            tasks = sorted(set(chain.from_iterable(arm["by_task"] for arm in scored.values())))
            bars = {
                name: [arm["accuracy"], *(arm["by_task"].get(task) for task in tasks)]
                for name, arm in scored.items()
            }
            drawn["accuracy"] = plots.accuracy_by_task(["all tasks", *tasks], bars)
        if losses:
            drawn["losses"] = plots.curves(losses)
    except ImportError:
        return None
    return {name: Markup(svg) for name, svg in drawn.items()}
