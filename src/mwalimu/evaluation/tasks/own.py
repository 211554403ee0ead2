"""Tasks of the user's own, from a file that the config names: YAML, or Python where YAML ends.

    intent:                          # the name that rows carry in their field `task`
      metric: label match            # or exact match, numeric match, token F1, chrF
      labels: [billing, delivery]    # optional: any other answer is wrong
      normalise: [casefold, strip_accents, {replace: "-", with: " "}]

A Python file defines `TASKS`, a mapping of names to functions (prediction, reference) -> 0..1. It
is run: name only a file that you trust.
"""

from __future__ import annotations

import runpy
import unicodedata
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from mwalimu.config.section import Section
from mwalimu.data.grading import CHARACTERS, EXACT, LABEL, NUMBER, WORDS, Grader, normal_label
from mwalimu.errors import ConfigError
from mwalimu.evaluation.metrics.labels import macro_f1
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.catalogue import Tasks

_METRICS = {grader.metric: grader for grader in (LABEL, EXACT, NUMBER, WORDS, CHARACTERS)}
WHERE = "evaluate.tasks_file"
Text = Callable[[str], str]


class _Replace(Section):
    replace: str = Field(min_length=1)
    by: str = Field("", alias="with")


class _Own(Section):
    metric: Literal["label match", "exact match", "numeric match", "token F1", "chrF"]
    labels: tuple[str, ...] = ()
    normalise: tuple[Literal["casefold", "strip", "strip_accents"] | _Replace, ...] = ()


def load_tasks(path: Path | None) -> Tasks:
    """Raises ConfigError where the file is absent, is neither kind, or names what is unknown."""
    if path is None:
        return Tasks()
    if not path.is_file():
        raise ConfigError(f"{path} does not exist", where=WHERE, fix="name a .yaml or .py file")
    if path.suffix == ".py":
        return Tasks(_from_python(path))
    if path.suffix in (".yaml", ".yml"):
        return Tasks(_from_yaml(path))
    raise ConfigError(f"{path.name} is neither YAML nor Python", where=WHERE, fix="name it .yaml")


def _from_yaml(path: Path) -> dict[str, Task]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"cannot be read ({first})", where=str(path), fix="mend it") from None
    if not isinstance(raw, dict) or not raw:
        raise ConfigError(
            "is no mapping of task names", where=str(path), fix="see docs/evaluation.md"
        )
    tasks = {}
    for name, fields in raw.items():
        try:
            tasks[str(name)] = _task(str(name), _Own.model_validate(fields))
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, (name, *problem["loc"])))
            raise ConfigError(problem["msg"], where=f"{path}: {place}", fix="mend it") from None
    return tasks


def _task(name: str, own: _Own) -> Task:
    steps = [_step(step) for step in own.normalise]
    clean = partial(_cleaned, steps)
    grader = _METRICS[own.metric]
    allowed = frozenset(normal_label(clean(label)) for label in own.labels)

    def score(prediction: str, reference: str) -> float:
        said = clean(prediction)
        if allowed and normal_label(said) not in allowed:
            return 0.0
        return grader.score(said, clean(reference))

    def label(text: str) -> str:
        return normal_label(clean(text))

    labelled = own.metric == LABEL.metric
    corpus = {"macro_f1": partial(macro_f1, normalise=label)} if labelled else {}
    return Task(name, "as its file says", Grader(own.metric, score), corpus)


def _step(step: str | _Replace) -> Text:
    if isinstance(step, _Replace):
        return lambda text: text.replace(step.replace, step.by)
    return _STEPS[step]


def _cleaned(steps: list[Text], text: str) -> str:
    return reduce(lambda value, step: step(value), steps, text)


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


_STEPS: dict[str, Text] = {
    "casefold": str.casefold,
    "strip": str.strip,
    "strip_accents": _without_accents,
}


def _from_python(path: Path) -> dict[str, Task]:
    try:
        found = runpy.run_path(str(path)).get("TASKS")
    except Exception as error:  # the user's own code may do anything
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"fails when run ({what})", where=str(path), fix="mend it") from error
    if not isinstance(found, dict) or not all(callable(score) for score in found.values()):
        raise ConfigError(
            "defines no TASKS, a mapping of names to functions", where=str(path), fix="add it"
        )
    return {str(name): _from_function(path, str(name), score) for name, score in found.items()}


def _from_function(path: Path, name: str, score: Callable[[str, str], Any]) -> Task:
    def checked(prediction: str, reference: str) -> float:
        value = score(prediction, reference)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(
                f"{name} scores {value!r}, no number in 0..1", where=str(path), fix="mend it"
            )
        return float(value)

    return Task(name, "as its file says", Grader(name, checked))
