"""The trials on disk: Optuna's journal, of which this process is the only writer.

The sampler is made anew for each trial from the seed and the trial's number, so a search that was
killed goes on as the unbroken one would have. A trial that was under way keeps its number and its
parameters.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mwalimu.config import TuneConfig
from mwalimu.errors import MissingDependency, RunError
from mwalimu.files import disk_errors

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler

Params = dict[str, Any]
NAME = "recipes"
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "quality": "maximize",
    "latency": "minimize",
    "size": "minimize",
    "cost": "minimize",
}
_SEEDS = 2**32


def require_optuna() -> None:
    """Raises MissingDependency."""
    try:
        import optuna
    except ImportError:
        raise MissingDependency(
            "Optuna, which searches, is not installed",
            where="mwalimu tune",
            fix="pip install 'mwalimu[tune]'",
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_study(path: Path, settings: TuneConfig, fingerprint: str) -> Study:
    """The search in `path`, a new one if there is none.

    Raises:
        RunError: the one there is another search, or was damaged.
    """
    require_optuna()
    import optuna
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    backend = JournalFileBackend(str(path), lock_obj=_Alone())  # type: ignore[arg-type]
    try:
        storage = optuna.storages.JournalStorage(backend)
        if not storage.get_all_studies():  # one that is created again is a line more
            directions = [DIRECTIONS[name] for name in settings.objectives]
            optuna.create_study(storage=storage, study_name=NAME, directions=directions)
        # What is drawn comes from a sampler of its own: this one has nothing to say.
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.load_study(study_name=NAME, storage=storage, sampler=sampler)
    except (ValueError, KeyError, AssertionError) as error:
        raise RunError(f"is damaged ({error})", where=str(path), fix="use a new --run") from None
    known = study.user_attrs.get("fingerprint")
    if known is None:
        study.set_user_attr("fingerprint", fingerprint)
    elif known != fingerprint:
        raise RunError(
            "the search here is of another job, space or seed",
            where=str(path),
            fix="use a new --run, or remove the folder to begin again",
        )
    return study


def begin(study: Study, settings: TuneConfig, draw: Callable[[Trial], Any], own: Params) -> Trial:
    """The next trial; the first is the recipe as it is written, whose parameters are `own`.

    All that it is to try is in one line of the journal before it is there at all.
    """
    study.enqueue_trial(own if not study.trials else _imagined(study, settings, draw))
    return study.ask()


def unfinished(study: Study) -> list[Trial]:
    """Trials that an earlier life began, as they were."""
    from optuna import Trial
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return [Trial(study, one._trial_id) for one in running] + [study.ask() for _ in waiting]


def _imagined(study: Study, settings: TuneConfig, draw: Callable[[Trial], Any]) -> Params:
    """The parameters of the next trial, drawn in a copy of the search that nobody keeps."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    with _untold():
        copy = optuna.create_study(
            directions=study.directions, sampler=_sampler(settings, len(trials))
        )
        copy.add_trials(trials)
        trial = copy.ask()
        draw(trial)
    return dict(trial.params)


def cut_torn_line(path: Path) -> None:
    """What a crash left of a line that was being appended; the next one would join it."""
    if not path.exists():
        return
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    last = whole[whole[:-1].rfind(b"\n") + 1 :]
    if last and not _is_json(last):
        whole = whole[: -len(last)]
    if len(whole) < len(text):
        with disk_errors(path), open(path, "r+b") as handle:
            handle.truncate(len(whole))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _sampler(settings: TuneConfig, number: int) -> BaseSampler:
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    seed = (settings.seed * 1_000_003 + number) % _SEEDS
    if settings.sampler == "random":
        return RandomSampler(seed=seed)
    with _untold():
        tpe = TPESampler(
            seed=seed,
            n_startup_trials=settings.warm_up,
            multivariate=True,
            group=True,
            constant_liar=settings.parallel > 1,
        )
        if settings.sampler == "tpe":
            return tpe
        return GPSampler(
            seed=seed,
            n_startup_trials=settings.warm_up,
            independent_sampler=tpe,  # draws what only some trials have
            warn_independent_sampling=False,
        )


class _untold(warnings.catch_warnings):
    """What Optuna calls experimental is pinned here by tests of ours."""

    def __enter__(self) -> Any:
        from optuna.exceptions import ExperimentalWarning

        entered = super().__enter__()
        warnings.simplefilter("ignore", ExperimentalWarning)
        return entered


class _Alone:
    """A lock of nothing: this process holds the run folder's, which dies with it.

    Optuna's own lock file would outlive a killed process.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None: ...
