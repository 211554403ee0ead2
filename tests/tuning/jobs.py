"""A job to tune, and trials that run nowhere: their outcome is a function of the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from mwalimu.config import Config, build_config
from mwalimu.errors import MwalimuError
from mwalimu.shipping.telling import told
from mwalimu.tuning.budget import parse_budget
from mwalimu.tuning.launching import Event, Launch
from mwalimu.tuning.search import Place, Search
from mwalimu.tuning.space import Space
from mwalimu.tuning.study import open_study
from mwalimu.tuning.trial import Order

SPACE: dict[str, Any] = {
    "finetune.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
    "finetune.batch_size": [4, 8, 16],
    "finetune.epochs": {"low": 1, "high": 6},
}
Outcome = Callable[[Config], Sequence[Event] | MwalimuError]


def job(base: Path = Path("/"), *, space: dict[str, Any] | None = None, **tune: Any) -> Config:
    return build_config(
        {
            "task": "generic",
            "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
            "teacher": {"model": "fake"},
            "student": {"model": "student", "method": "full"},
            "finetune": {"learning_rate": 1e-3, "objective": "cross_entropy"},
            "tune": {"space": SPACE if space is None else space, **tune},
        },
        base=base,
    )


def quality(config: Config) -> float:
    """Best at a rate of 3e-3, a batch of 16, many epochs; in steps, as graded rows give."""
    import math

    off = abs(math.log10(config.finetune.learning_rate / 3e-3))
    found = 0.9 - 0.2 * off + 0.02 * config.finetune.epochs + 0.002 * config.finetune.batch_size
    return round(max(0.0, min(1.0, found)), 2)


def done(value: float, **more: float) -> Event:
    scores = [1.0] * round(20 * value) + [0.0] * (20 - round(20 * value))
    found = {"scores": scores, "quality": value, "latency": 0.1, "size": 5.0, "cost": None}
    return {"done": found | more}


def moment(epoch: float, nats: float) -> Event:
    return {"moment": {"epoch": epoch, "nats": nats}}


def smooth(config: Config) -> Sequence[Event]:
    """A trial that is validated after each epoch, and then measured."""
    value = quality(config)
    epochs = range(1, config.finetune.epochs + 1)
    return [{"usd": 0.0}, *(moment(e, 10 * (1 - value) + 1 / e) for e in epochs), done(value)]


class Nowhere:
    """A launch: all events of a trial come at once, unless it is `held` until it is stopped."""

    def __init__(self, outcome: Outcome = smooth, *, held: Sequence[int] = ()) -> None:
        self.outcome = outcome
        self.held = held
        self.orders: list[Order] = []
        self.stopped: list[str] = []

    def __call__(self, order: Order, heard: Callable[[Event], None]) -> Stop:
        self.orders.append(order)
        if len(self.orders) - 1 in self.held:
            return Stop(self, order, heard)
        found = self.outcome(Config.model_validate(order.config))
        events = [{"failed": told(found)}] if isinstance(found, MwalimuError) else found
        for event in events:
            heard(event)
        heard({"ended": {"code": 0, "said": ""}})
        return Stop(self, order, None)


class Launched(Protocol):
    stopped: list[str]


class Stop:
    def __init__(
        self, launch: Launched, order: Order, heard: Callable[[Event], None] | None
    ) -> None:
        self.launch = launch
        self.order = order
        self.heard = heard

    def stop(self) -> None:
        self.launch.stopped.append(Path(self.order.folder).name)
        if self.heard is not None:
            self.heard({"ended": {"code": 130, "said": ""}})


def search(
    root: Path,
    config: Config,
    launch: Launch,
    *,
    budget: str = "12trials",
    said: list[str] | None = None,
) -> Search:
    place = Place(root, root / "store", root / "rows.jsonl")
    return Search(
        config=config,
        space=Space(config, config.finetune.objective),
        study=open_study(place.journal, config.tune, "this search"),
        place=place,
        launch=launch,
        budget=parse_budget(budget),
        allow_spend=False,
        say=(said if said is not None else []).append,
    )


def drawn(found: Search) -> list[tuple[dict[str, Any], str, list[float] | None]]:
    """What each trial tried, how it ended, what came of it."""
    trials = found.study.get_trials(deepcopy=False)
    return [(t.user_attrs["changes"], t.state.name, t.values) for t in trials]
