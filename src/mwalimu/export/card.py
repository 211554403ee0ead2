"""What goes along with an export: a model card, and what the licences behind it ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mwalimu.config import Config
from mwalimu.registry import Licence, find, find_student
from mwalimu.runtimes import Export


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a student comes from: its config, the SHA-256 of the user's files by split, how many
    rows it learned.
    """

    config: Config
    inputs: Mapping[str, str]
    learned: int


def card(origin: Origin, export: Export, scores: Mapping[str, Any] | None) -> str:
    """README.md of an export, as model hubs read it; `scores` are those of its scores.json."""
    config = origin.config
    head = {
        "base_model": _short(config.student.model),
        "tags": ["distillation", export.format],
        "license": "other",
        "license_name": "see LICENSE-NOTES",
    }
    sections = (
        _made(origin, export),
        _scores(scores),
        _use(export),
        _limits(export, scores),
    )
    text = "\n\n".join("\n".join(lines) for lines in sections)
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n# {export.name}\n\n{text}\n"


def licence_notes(config: Config) -> str:
    """What is known of the terms of the teachers and of the base; no legal advice."""
    lines = [
        "What the licences of the models behind this one ask for, as far as mwalimu knows them.",
        "The terms themselves decide; read them before you pass this model on.",
        "",
    ]
    for teacher in config.teachers():
        known = find(teacher.identity or teacher.model)
        lines += _terms(
            f"Teacher {_short(teacher.model)}", known.licence if known else None, "terms"
        )
    base = find_student(config.student.model)
    licence = base.licence if base else None
    lines += _terms(f"Base of the student {_short(config.student.model)}", licence, "derivatives")
    return "\n".join(lines)


def _terms(who: str, licence: Licence | None, clause: str) -> Iterator[str]:
    if licence is None:
        yield f"{who}: not known by name, so its terms are not known here."
    else:
        asked = getattr(licence, clause) or "nothing more is known to be asked for"
        yield f"{who}: {licence.name} ({licence.url}). {asked}."
    yield ""


def _made(origin: Origin, export: Export) -> Iterator[str]:
    config = origin.config
    student, teachers = config.student, [_short(one.model) for one in config.teachers()]
    yield "## How it was made"
    yield f"- Task: {config.task}. Teacher: {', '.join(f'`{name}`' for name in teachers)}."
    yield f"- Student: `{_short(student.model)}`, trained ({student.method}) on the answers to"
    yield f"  {origin.learned:,} prompts, seed {config.seed}."
    for split, digest in sorted(origin.inputs.items()):
        yield f"- Rows of the user, {split}: SHA-256 `{digest}`."
    made_with = ", ".join(f"{name} {version}" for name, version in export.made_with.items())
    yield f"- Exported to {export.format}, {export.precision}, with {made_with}."


def _scores(scores: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## What it scores"
    if scores is None or scores["accuracy"] is None:
        yield "It was not measured: the run had no held-out rows."
        return
    before = scores["student"]["accuracy"]
    yield f"On {scores['rows']:,} held-out rows of its task, with 95 % intervals:"
    yield ""
    yield "| model | accuracy |"
    yield "|---|---|"
    yield f"| student in full precision | {_percent(before)} |"
    yield f"| this export | {_percent(scores['accuracy'])} |"
    yield ""
    agreement = scores["agreement"]
    yield (
        f"Of its answers {100 * agreement['answers']:.1f} % are the student's, token by token "
        f"(difference in accuracy: p = {scores['p_value']:.2g}, {scores['test']})."
    )


def _use(export: Export) -> Iterator[str]:
    yield "## How to use it"
    ends = ", ".join(map(str, export.ends))
    yield f"Load `{export.weights}` of this folder. Prompts are rendered by the chat template of"
    yield f"its tokenizer; any of the ids {ends} ends an answer. A `sample` program, if any,"
    yield "shows how. `mwalimu export --verify FOLDER` tells whether every file is as it was made."


def _limits(export: Export, scores: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Limits"
    yield "It learned one task from a teacher's answers and repeats the teacher's mistakes; outside"
    yield f"of that task it was not measured. Prompt and answer share {export.context:,} tokens."
    latency = scores and scores["performance"]["latency_p50_s"]
    if latency:
        yield f"An answer took {1000 * latency:,.3g} ms (median) where it was measured, on a CPU;"
        yield "other devices differ."


def _percent(interval: Mapping[str, float]) -> str:
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def _short(model: str) -> str:
    """A folder by its last name: where it lies on this machine is nobody's business."""
    return Path(model).name if Path(model).is_absolute() else model
