"""What a search found: the recipe chosen on validation rows, and its one look at the test rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mwalimu.data.record import Record
from mwalimu.errors import RunError
from mwalimu.evaluation.evaluate import require_references
from mwalimu.evaluation.statistics import Interval, compared, mean_interval
from mwalimu.files import write_json
from mwalimu.progress import Progress
from mwalimu.tuning.bias import without_selection
from mwalimu.tuning.importance import importances
from mwalimu.tuning.measuring import Measured, measured
from mwalimu.tuning.picking import Floats, Rule, smallest_as_good
from mwalimu.tuning.picking import best as best_column
from mwalimu.tuning.search import WRITTEN, Search, student_of, trial_run

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class NothingMeasured(RunError):
    """The budget ended before any trial did."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial as it is told: `state` is complete, pruned, fail or running; `why` it failed.

    `parameters` and `size` (MiB) are its student's, None where it was not measured.
    """

    number: int
    state: str
    changes: dict[str, Any]
    values: tuple[float, ...]
    seconds: float
    why: str
    student: str
    parameters: int | None
    size: float | None


@dataclass(frozen=True, slots=True)
class OnTest:
    """Both recipes on the test rows; `looks` is how many recipes this search ever measured there.

    `difference` is of the chosen less the written, with its 95 % interval.
    """

    rows: int
    chosen: Interval
    written: Interval
    difference: Interval
    p_value: float
    test: str
    looks: int


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`chosen` is a trial's number, `front` those that none beats; of one objective, the best of
    each student.

    `corrected`: what choosing so gives on rows that did not choose, where quality alone chose.
    """

    choose: str
    objectives: tuple[str, ...]
    chosen: int
    front: tuple[int, ...]
    trials: tuple[Tried, ...]
    importances: dict[str, float]
    corrected: Interval | None
    measured_on: int
    graded_by: str
    on_test: OnTest | None
    seconds: float
    usd: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def of(self, number: int) -> Tried:
        return self.trials[number]


def conclude(
    search: Search, test: Sequence[Record], progress: Progress, *, graded_by: str
) -> Conclusion:
    """Chooses on the validation rows, then measures the choice beside the recipe as written.

    Raises:
        NothingMeasured: no trial was measured to its end.
        DataError: a test row has no gold answer.
    """
    best = search.best()
    if not best:
        raise NothingMeasured(
            "no trial ended within the budget",
            where=str(search.place.root / "tuning"),
            fix="run the same command with a larger --budget; it goes on where it was",
        )
    trials = search.study.get_trials(deepcopy=False)
    chosen = _chosen(search, best)
    spent = search.spent()
    return Conclusion(
        choose=search.config.tune.choose,
        objectives=search.config.tune.objectives,
        chosen=chosen,
        front=tuple(trial.number for trial in best),
        trials=tuple(_tried(trial, search.config.student.model) for trial in trials),
        importances=importances(search.study),
        corrected=_corrected(search),
        measured_on=len(trials[chosen].user_attrs["measured"]["scores"]),
        graded_by=graded_by,
        on_test=_on_test(search, chosen, test, progress) if test else None,
        seconds=spent.seconds,
        usd=spent.usd,
    )


def _chosen(search: Search, contenders: Sequence[FrozenTrial]) -> int:
    """The number of the trial that is chosen."""
    if search.config.tune.choose == "smallest":
        scores_NC = _scores(contenders)
        return int(contenders[_rule(search, contenders)(scores_NC)].number)
    return int(max(contenders, key=lambda trial: (_merit(search, trial), -trial.number)).number)


def _scores(trials: Sequence[FrozenTrial]) -> Floats:
    """(N, C), of N rows and C trials."""
    return np.array([trial.user_attrs["measured"]["scores"] for trial in trials], np.float64).T


def _rule(search: Search, trials: Sequence[FrozenTrial]) -> Rule:
    if search.config.tune.choose == "best":
        return best_column
    found = [trial.user_attrs["measured"] for trial in trials]
    by_parameters = all(one.get("parameters") for one in found)
    sizes = [one["parameters"] if by_parameters else one["size"] or 0.0 for one in found]
    return smallest_as_good([student_of(trial) for trial in trials], sizes)


def _merit(search: Search, trial: Any) -> float:
    """Of those that none beats the best student is chosen, or else what was named first."""
    names = search.config.tune.objectives
    if "quality" in names:
        return float(trial.values[names.index("quality")])
    return -float(trial.values[0])


def _tried(trial: FrozenTrial, own_student: str) -> Tried:
    measured = trial.user_attrs.get("measured", {})
    return Tried(
        trial.number,
        trial.state.name.lower(),
        dict(trial.user_attrs.get("changes", {})),
        tuple(trial.values or ()),
        float(trial.user_attrs.get("seconds", 0.0)),
        str(trial.user_attrs.get("error", "")),
        student_of(trial) or own_student,
        measured.get("parameters"),
        measured.get("size"),
    )


def _corrected(search: Search) -> Interval | None:
    if search.config.tune.objectives != ("quality",):
        return None
    trials = search.study.get_trials(deepcopy=False)
    known = [trial for trial in trials if trial.state.name == "COMPLETE"]
    scores = [trial.user_attrs["measured"]["scores"] for trial in known]
    return without_selection(scores, seed=search.config.tune.seed, rule=_rule(search, known))


def _on_test(search: Search, chosen: int, test: Sequence[Record], progress: Progress) -> OnTest:
    """Each recipe is measured there once: what is known is read, and counted."""
    require_references(list(test))
    config = search.config
    scores = {number: _look(search, number, test, progress).scores for number in {WRITTEN, chosen}}
    how = {"draws": config.evaluate.bootstrap, "seed": config.seed}
    found = compared(scores[chosen], scores[WRITTEN], **how)
    return OnTest(
        len(test),
        mean_interval(scores[chosen], **how),
        mean_interval(scores[WRITTEN], **how),
        Interval(**found["difference"]),
        found["p_value"],
        found["test"],
        len(_looks(search.place.root / "tuning" / "test.json")),
    )


def _look(search: Search, number: int, test: Sequence[Record], progress: Progress) -> Measured:
    run = trial_run(search.place, number)
    found = measured(search.config, run, test, "test", progress)
    path = search.place.root / "tuning" / "test.json"
    write_json(path, _looks(path) | {str(number): found.to_json()})
    return found


def _looks(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes())) if path.exists() else {}
