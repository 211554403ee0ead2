"""Several teachers as one: which of them is asked for a row, and whose answer is taken.

    vote      all are asked, the answer that most of them gave is taken
    judge     all are asked, another model says which answer is the best
    best      the one that did best on the validation rows of the task
    mix       one for each row, in given shares
    fallback  the first that has an answer
    route     cheap ones first, a dearer one where they are in doubt

What is taken depends on the answers alone, never on which of them came first.
"""

from __future__ import annotations

from mwalimu.config import Config
from mwalimu.errors import ConfigError
from mwalimu.synthesis.ensemble.base import Ensemble
from mwalimu.synthesis.ensemble.best import Best
from mwalimu.synthesis.ensemble.joint import Judged, Vote
from mwalimu.synthesis.ensemble.judging import LETTERS
from mwalimu.synthesis.ensemble.route import Route
from mwalimu.synthesis.ensemble.single import Fallback, Mix
from mwalimu.synthesis.job import Job

STRATEGIES: dict[str, type[Ensemble]] = {
    "vote": Vote,
    "judge": Judged,
    "best": Best,
    "mix": Mix,
    "fallback": Fallback,
    "route": Route,
}


def build_ensemble(job: Job) -> Ensemble:
    """The `Answerer` of `job.config.ensemble`; build one a job, it remembers what it prepared.

    Raises:
        ConfigError: the strategy cannot work with these settings, teachers or this task.
    """
    assert job.config.ensemble is not None
    _check_members(job.config)
    return STRATEGIES[job.config.ensemble.strategy](job)


def _check_members(config: Config) -> None:
    assert config.ensemble is not None
    others = config.ensemble.others
    if len(others) >= len(LETTERS):
        raise ConfigError(
            f"has {len(others)} teachers, {len(LETTERS) - 1} are the most",
            where="ensemble.others",
            fix="drop some",
        )
    if config.generate.samples == 1:
        return
    for number, teacher in enumerate(others):
        if teacher.temperature == 0:
            raise ConfigError(
                "generate.samples asks for several answers, at temperature 0 all are the same",
                where=f"ensemble.others.{number}.temperature",
                fix="set it, say to 0.7",
            )
