"""The search: draws recipes, has them tried, and writes down what came of each as it comes.

One thread draws and decides; trials are elsewhere and send events. Whatever is killed, a finished
trial stays finished, and one under way goes on where its last checkpoint was.
"""

from __future__ import annotations

import queue
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwalimu.config import Config
from mwalimu.errors import MachineError, Misplaced, MissingDependency, MwalimuError, StudentError
from mwalimu.run import Run
from mwalimu.shipping.telling import rebuilt
from mwalimu.tuning import study as book
from mwalimu.tuning.axes import recipe
from mwalimu.tuning.budget import Budget, Spent
from mwalimu.tuning.halving import EPOCH, is_behind
from mwalimu.tuning.launching import Event, Launch, Running
from mwalimu.tuning.measuring import Measured
from mwalimu.tuning.space import Space
from mwalimu.tuning.trial import Order

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

WRITTEN = 0
"""The trial that is the recipe as it is written, to which the chosen one is held."""
NOT_OF_THE_RECIPE = (MachineError, Misplaced, MissingDependency)
"""What would end any other trial as well."""


@dataclass(frozen=True, slots=True)
class Place:
    """The job's run folder, its answer store, and the file of rows that decide."""

    root: Path
    store: Path
    rows: Path

    @property
    def journal(self) -> Path:
        return self.root / "tuning" / "journal.jsonl"

    def trial(self, number: int) -> Path:
        return self.root / "tuning" / "trials" / f"{number:04}"


@dataclass(slots=True)
class Life:
    """A trial under way; `since` is when it began in this process, `before` seconds earlier."""

    trial: Trial
    running: Running
    since: float
    before: float
    over: bool = False
    error: MwalimuError | None = None


@dataclass(slots=True)
class Search:
    config: Config
    space: Space
    study: Study
    place: Place
    launch: Launch
    budget: Budget
    allow_spend: bool
    say: Callable[[str], None]
    _events: queue.Queue[tuple[int, Event]] = field(default_factory=queue.Queue)
    _lives: dict[int, Life] = field(default_factory=dict)

    def run(self) -> None:
        """Until the budget is spent; Ctrl-C stops the trials where they can go on later.

        Raises:
            MwalimuError: the recipe as it is written cannot be tried, or no recipe can.
        """
        own = self.space.own()
        waiting = book.unfinished(self.study)
        try:
            while True:
                self._fill(waiting, own)
                if not self._lives:
                    return
                try:
                    number, event = self._events.get(timeout=self._seconds_left())
                except queue.Empty:
                    self.say("the budget is spent; trials under way can go on with a larger one")
                    return
                self._hear(number, event)
        finally:
            self._stop_all()

    def _fill(self, waiting: list[Trial], own: dict[str, Any]) -> None:
        while len(self._lives) < self.config.tune.parallel and not self._time_is_up:
            if waiting:
                self._start(waiting.pop(0))
            elif not self.budget.is_spent(self.spent()):
                self._start(book.begin(self.study, self.config.tune, self.space.drawn, own))
            else:
                return

    def _start(self, trial: Trial) -> None:
        """What cannot be a config at all is a failed trial."""
        changes = self.space.drawn(trial)
        trial.set_user_attr("changes", changes)
        try:
            config = recipe(self.config, changes)
        except MwalimuError as error:
            self._fail(trial, error)
            return
        order = Order(
            # A trial is the work of one machine, and has no mirror of its own.
            config=config.model_dump(mode="json", exclude_unset=True, exclude={"scale"}),
            folder=str(self.place.trial(trial.number)),
            store=str(self.place.store),
            rows=str(self.place.rows),
            stages=str(self.place.root / "tuning"),
            donors=tuple(map(str, self._donors(trial.number))),
            allow_spend=self.allow_spend,
        )
        heard = partial(self._put, trial.number)
        before = float(trial.user_attrs.get("seconds", 0.0))
        self.say(f"trial {trial.number}: {shown(changes)}")
        running = self.launch(order, heard)
        self._lives[trial.number] = Life(trial, running, time.monotonic(), before)

    def _donors(self, number: int) -> Iterator[Path]:
        """The job itself, and every trial before this one."""
        yield self.place.root
        yield from map(self.place.trial, range(number))

    def _put(self, number: int, event: Event) -> None:
        self._events.put((number, event))

    def _hear(self, number: int, event: Event) -> None:
        life = self._lives[number]
        if "ended" in event:
            del self._lives[number]
            if not life.over:
                self._end_badly(life, event["ended"])
            self._tidy()
            return
        if life.over:
            return
        self._count(life)
        if "usd" in event:
            life.trial.set_user_attr("usd", event["usd"])
        elif "validated_on" in event:
            life.trial.set_user_attr("validated_on", event["validated_on"])
        elif "moment" in event:
            self._judge(life, **event["moment"])
        elif "failed" in event:
            life.error = rebuilt(event["failed"])
        elif "done" in event:
            self._finish(life, Measured(**event["done"]))

    def _count(self, life: Life) -> None:
        seconds = life.before + time.monotonic() - life.since
        life.trial.set_user_attr("seconds", round(seconds, 3))

    def _judge(self, life: Life, epoch: float, nats: float) -> None:
        """Ends it early where it is behind others at the same epoch, on the same rows; never the
        recipe as written.

        Told is minus the nats, as what is searched for is the larger the better.
        """
        settings, trial, step = self.config.tune, life.trial, round(epoch * EPOCH)
        if len(settings.objectives) > 1:
            return  # Optuna keeps no steps there
        sign = 1 if book.DIRECTIONS[settings.objectives[0]] == "minimize" else -1
        trials = self.study.get_trials(deepcopy=False)
        if step not in trials[trial.number].intermediate_values:
            trial.report(sign * nats, step)
        trials = self.study.get_trials(deepcopy=False)
        rows = trials[trial.number].user_attrs.get("validated_on")
        alike = [one for one in trials if one.user_attrs.get("validated_on") == rows]
        told = {one.number: _costs(one) for one in alike}
        own = told.pop(trial.number)
        may_end = settings.pruner == "asha" and trial.number != WRITTEN
        if may_end and is_behind(own, list(told.values()), step, reduction=settings.reduction):
            life.over = True
            self.study.tell(trial, state=_state("PRUNED"))
            self.say(f"trial {trial.number}: ended at epoch {epoch:g}, behind others")
            life.running.stop()

    def _finish(self, life: Life, found: Measured) -> None:
        trial = life.trial
        trial.set_user_attr("measured", found.to_json())
        values = found.values(self.config.tune.objectives)
        life.over = True
        self.study.tell(trial, values)
        pairs = zip(self.config.tune.objectives, values, strict=True)
        self.say(f"trial {trial.number}: " + ", ".join(f"{n} {v:.4g}" for n, v in pairs))

    def _end_badly(self, life: Life, ended: Event) -> None:
        error = life.error or StudentError(
            f"its process ended with code {ended['code']} ({ended['said']})",
            where=f"trial {life.trial.number}",
            fix=f"see {self.place.trial(life.trial.number) / 'log.txt'}",
        )
        if isinstance(error, NOT_OF_THE_RECIPE):
            raise error
        self._fail(life.trial, error)

    def _fail(self, trial: Trial, error: MwalimuError) -> None:
        """A recipe that cannot be tried is none; the first is the user's own, whose error tells."""
        if trial.number == WRITTEN:
            raise error
        trial.set_user_attr("error", str(error))
        self.study.tell(trial, state=_state("FAIL"))
        self.say(f"trial {trial.number}: failed: {error}")
        if not self._left_to_try():
            raise error

    def _left_to_try(self) -> bool:
        """False where the last ones all failed: the space holds little that may be tried."""
        last = self.study.get_trials(deepcopy=False)[-MOST_FAILURES:]
        return len(last) < MOST_FAILURES or any(t.state.name != "FAIL" for t in last)

    def _tidy(self) -> None:
        """Students that cannot be chosen any more go, and so do the others' checkpoints."""
        kept = {trial.number for trial in self.best()} | {WRITTEN}
        for trial in self.study.get_trials(deepcopy=False):
            if trial.number not in kept and trial.state.is_finished():
                folder = self.place.trial(trial.number) / "finetune"
                for name in ("student", "checkpoints", "pruned"):
                    shutil.rmtree(folder / name, ignore_errors=True)

    def best(self) -> list[FrozenTrial]:
        """Of one objective the best of each student, the earliest if tied; else the front."""
        return best_of(self.study)

    def spent(self) -> Spent:
        """Of all lives; of trials under way the seconds until they last told something."""
        trials = self.study.get_trials(deepcopy=False)
        seconds = sum(float(t.user_attrs.get("seconds", 0.0)) for t in trials)
        asked = sum(float(t.user_attrs.get("usd", 0.0)) for t in trials)
        return Spent(seconds, asked + seconds * self.usd_per_second, len(trials))

    @property
    def usd_per_second(self) -> float:
        return (self.config.evaluate.usd_per_hour or 0.0) / 3600

    @property
    def _time_is_up(self) -> bool:
        left = self._seconds_left()
        return left is not None and left <= 0

    def _seconds_left(self) -> float | None:
        """Until time or money is up, all trials that are under way counted to this moment."""
        spent, now = self.spent(), time.monotonic()
        untold = sum(
            life.before + now - life.since - float(life.trial.user_attrs.get("seconds", 0.0))
            for life in self._lives.values()
        )
        grown = Spent(
            spent.seconds + untold, spent.usd + untold * self.usd_per_second, spent.trials
        )
        left = self.budget.seconds_left(grown, self.usd_per_second)
        return None if left is None else left / max(1, len(self._lives))

    def _stop_all(self) -> None:
        """Those under way save a checkpoint; the journal has them as they are."""
        for life in self._lives.values():
            self._count(life)
            life.running.stop()
        while self._lives:
            number, event = self._events.get()
            if "ended" in event:
                del self._lives[number]


MOST_FAILURES = 10


def best_of(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return []
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.number)
    sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
    best: dict[str, FrozenTrial] = {}
    for trial in sorted(complete, key=lambda one: (-sign * one.values[0], one.number)):
        best.setdefault(student_of(trial), trial)
    return sorted(best.values(), key=lambda one: one.number)


def student_of(trial: FrozenTrial) -> str:
    """The model that learned in it; empty for the config's own where none is searched."""
    return str(trial.user_attrs.get("changes", {}).get("student.model", ""))


def _costs(trial: FrozenTrial) -> dict[int, float]:
    """What answers cost at each step, the larger the better."""
    return {step: -abs(value) for step, value in trial.intermediate_values.items()}


def shown(changes: dict[str, Any]) -> str:
    """In one line, each under the last word of its key."""
    return ", ".join(f"{key.rpartition('.')[2]} {_word(value)}" for key, value in changes.items())


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return " + ".join(_part(part) for part in value)
    if isinstance(value, dict) and isinstance(value.get("weights"), dict):
        return " ".join(f"{weight:.2g} {group}" for group, weight in value["weights"].items())
    return str(value)


def _part(part: dict[str, Any]) -> str:
    weight, kind = part.get("weight", 1.0), part.get("kind")
    warm = part.get("temperature", 1.0)
    if isinstance(warm, dict):
        warm = f"{warm['start']:g} to {warm['end']:g} ({warm.get('shape', 'linear')})"
    return f"{weight:g} {kind}" + ("" if warm == 1.0 else f" at {warm}")


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def trial_run(place: Place, number: int) -> Run:
    return Run(place.trial(number))
