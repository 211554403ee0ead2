"""Which of what was varied mattered, over the trials that were measured to their end."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study

FEWEST = 8
"""Trials below which shares would be noise alone."""
GOOD = 0.25
"""The share of the trials that counts as good."""


def importances(study: Study) -> dict[str, float]:
    """How much each parameter had to do with being good, the largest first; shares add up to 1.

    Conditional PED-ANOVA (Watanabe, Bansal and Hutter 2023): how unlike the values of the good
    trials are to those of all. Of several objectives, good is near the front that none beats. Empty
    where there are few trials, or all are alike.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len({tuple(trial.values) for trial in complete}) < 2:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all good trials tie, its shares are equal
        found = get_param_importances(study, evaluator=evaluator)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def bars(shares: Mapping[str, float], title: str) -> str:
    """The SVG. Raises ImportError without matplotlib."""
    from mwalimu.report.plots import as_svg, drawing

    names = list(shares)[::-1]
    with drawing("importance", height=0.6 + 0.32 * len(names)) as figure:
        axes = figure.subplots()
        axes.barh(names, [100 * shares[name] for name in names], height=0.6, color="#1f5fbf")
        axes.set_xlabel("share of the difference, %")
        axes.set_title(title)
        axes.grid(visible=True, axis="x")
        return as_svg(figure, "importance", "What mattered for the best recipes")
