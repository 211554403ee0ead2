"""A run's listed files -> the facts and plots that the templates name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mwalimu.report import plots
from mwalimu.report.examples import Rows, differences, examples
from mwalimu.report.exports import trade_offs
from mwalimu.report.funnel import Step, funnel
from mwalimu.report.verdict import by_name, curve, headline, training_hint, verdict
from mwalimu.report.wording import ARM_NOTES, DISTILLED, LABELS, TEACHER, Row, without_controls
from mwalimu.run import Run, StageState

PLOTS_NEED = "plots need: pip install 'mwalimu[eval]'"
_USERINFO = re.compile(r"(?<=//)[^/@\s]+@")


def collect(run: Run, stages: Mapping[str, StageState]) -> dict[str, Any]:
    """Everything that the templates name."""
    rows: Rows = partial(rows_of, run, stages)
    scores = stages["evaluate"].summary if "evaluate" in stages else None
    exports = stages["export"].summary if "export" in stages else None
    training = stages["finetune"].summary
    metrics = list(rows("finetune", "finetune/metrics.jsonl"))
    config = seen_from(run.root.resolve(), run.manifest.get("config") or {})
    ledger = next(rows("generate", "generate/ledger.json"), None)
    steps = funnel(rows)
    learned = "curate" if "curate" in stages else "generate"
    return {
        "name": run.root.resolve().name,
        "manifest": run.manifest,
        "stages": stages,
        "config": config,
        "config_text": _USERINFO.sub("", yaml.safe_dump(config, sort_keys=True)),
        "verdict": verdict(scores, training, test_given=_test_given(config)),
        "test_given": _test_given(config),
        "scores": scores,
        "teacher": by_name(scores).get(TEACHER),
        "machine": _machine(rows),
        "groups": _groups(scores),
        "headline": headline(scores, ledger),
        "arm_notes": ARM_NOTES,
        "training": training,
        "signals": _signals(stages),
        "auto": run.manifest.get("auto"),
        "buying": run.manifest.get("buying"),
        "hint": training_hint(metrics),
        "plots_need": PLOTS_NEED,
        "plots": _plots(scores, metrics, rows, steps, exports),
        "exports": exports,
        "funnel": steps,
        "ledger": ledger,
        "answers": examples(rows(learned, f"{learned}/train.jsonl")),
        "rejects": examples(rows("generate", "generate/rejects.jsonl")),
        "left_out": examples(rows("curate", "curate/rejects.jsonl")),
        "differences": differences(rows, list(by_name(scores))),
    }


def rows_of(run: Run, stages: Mapping[str, StageState], stage: str, file: str) -> Iterator[Row]:
    """The rows of a file that the manifest lists; none of one that it does not."""
    if stage in stages and file in stages[stage].files:
        with open(run.path(file), "rb") as handle:
            yield from [json.load(handle)] if file.endswith(".json") else map(json.loads, handle)


def seen_from(folder: Path, value: Any) -> Any:
    """With places on the disk as `folder` sees them: a report is passed on, and on whose disk it
    was made is nobody's business. What shares no folder with it but the root stays as it is."""
    if isinstance(value, dict):
        return {key: seen_from(folder, item) for key, item in value.items()}
    if isinstance(value, list):
        return [seen_from(folder, item) for item in value]
    if isinstance(value, str) and Path(value).parts[:2] == folder.parts[:2]:
        return os.path.relpath(value, folder)
    return value


def _signals(stages: Mapping[str, StageState]) -> Row | None:
    """What was kept of the teacher's distribution, an encoding a row; None where nothing was."""
    if "signals" not in stages:
        return None
    summary = stages["signals"].summary
    encodings = [
        {
            "name": name,
            "rows": summary[f"{name}_rows"],
            "tokens": summary[f"{name}_tokens"],
            "mib": summary[f"{name}_bytes"] / 2**20,
            "bytes_per_token": summary[f"{name}_bytes_per_token"],
        }
        for name in summary["encodings"].split(", ")
    ]
    return {
        "rows": summary["examples"],
        "seconds": summary.get("seconds"),
        "encodings": encodings,
        "left_out": list(summary.get("left_out", {}).items()),
    }


def _groups(scores: Row | None) -> dict[str, dict[str, dict[str, Row]]]:
    """By metadata key, by its value, by arm: rows and accuracy."""
    found: dict[str, dict[str, dict[str, Row]]] = {}
    for name, arm in by_name(scores).items():
        for key, values in (arm.get("groups") or {}).items():
            for value, measured in values.items():
                found.setdefault(key, {}).setdefault(value, {})[name] = measured
    return found


def _machine(rows: Rows) -> str:
    """What the arms were measured on; empty if nobody wrote it down."""
    measured = next(rows("evaluate", "evaluate/performance.json"), {})
    own = measured.get("arms", {}).get(DISTILLED) or {}
    threads = f", {own['threads']} threads" if own.get("threads") else ""
    return f"{own['device']}{threads}" if own.get("device") else ""


def _test_given(config: Row) -> bool:
    return bool((config.get("data") or {}).get("test"))


def _plots(
    scores: Row | None, metrics: list[Row], rows: Rows, steps: list[Step], exports: Row | None
) -> dict[str, Markup] | None:
    """None without matplotlib. The SVG is ours, with every name in it escaped."""
    drawn: dict[str, str] = {}
    training, validation = curve(metrics, "loss"), curve(metrics, "validation_loss")
    labels = curve(rows("evaluate", f"evaluate/arms/{LABELS}/metrics.jsonl"), "loss")
    arms = {_label(name): arm for name, arm in by_name(scores).items()}
    try:
        if training or validation:
            drawn["loss"] = plots.loss_curves(training, validation, labels)
        if scores and arms:
            groups, intervals = _accuracies(scores, arms)
            drawn["accuracy"] = plots.accuracy_by_task(groups, intervals)
            if panels := _cost_panels(arms):
                drawn["costs"] = plots.costs(panels)
        if steps:
            drawn["funnel"] = plots.funnel([step[:3] for step in steps])
        if (drawing := trade_offs(exports)) is not None:
            drawn["exports"] = drawing
    except ImportError:
        return None
    return {name: Markup(svg) for name, svg in drawn.items()}


def _accuracies(scores: Row, arms: dict[str, Row]) -> tuple[list[str], dict[str, list[Any]]]:
    tasks = sorted(scores["tasks"])
    by_arm = {name: [arm["by_task"].get(task) for task in tasks] for name, arm in arms.items()}
    if len(tasks) < 2:
        return [_label(task) for task in tasks], by_arm
    return ["all tasks", *map(_label, tasks)], {n: [arms[n]["accuracy"], *by_arm[n]] for n in arms}


def _cost_panels(arms: dict[str, Row]) -> dict[str, dict[str, float | None]]:
    measures = {
        "median latency, ms": ("latency_p50_s", 1000.0),
        "peak memory, MiB": ("peak_memory_mib", 1.0),
        "parameters": ("parameters", 1.0),
    }
    panels = {
        title: {name: _scaled(arm.get(key), by) for name, arm in arms.items()}
        for title, (key, by) in measures.items()
    }
    return {title: values for title, values in panels.items() if any(values.values())}


def _label(name: str) -> str:
    """A name as a plot can draw it: short, whole characters only."""
    return str(without_controls(name[:24])).encode("utf-8", "replace").decode()


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by
