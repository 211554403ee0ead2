"""The dimensions of a space: each draws the value of one key of the config by a trial's parameters.

Each also tells under which parameters it draws what a config says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from pydantic import ValidationError

from mwalimu.config import (
    Config,
    MixConfig,
    MixtureConfig,
    MixtureRangeConfig,
    PartConfig,
    RangeConfig,
    put,
)
from mwalimu.config.loading import config_error

OBJECTIVE = "finetune.objective"
MIXTURE = "finetune.mixture"
Changes = Mapping[str, Any]
"""Keys of the config with their new values."""
Params = dict[str, Any]


class Draw(Protocol):
    """Where values come from: a trial of Optuna."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


class Axis(Protocol):
    key: str

    def drawn(self, draw: Draw) -> Any:
        """A value of the key."""

    def params(self, config: Config) -> Params | None:
        """Those under which a trial is `config` itself in this key; None if none are."""

    def ends(self) -> list[Any]:
        """Values that show whether the key can take such ones at all."""


class Range:
    def __init__(self, key: str, settings: RangeConfig) -> None:
        self.key = key
        self.settings = settings

    def drawn(self, draw: Draw) -> Any:
        low, high, step = self.settings.low, self.settings.high, self.settings.step
        if self.settings.whole:
            how = {"log": self.settings.log}
            return draw.suggest_int(self.key, int(low), int(high), step=int(step or 1), **how)
        return draw.suggest_float(self.key, low, high, step=step, log=self.settings.log)

    def params(self, config: Config) -> Params | None:
        own = value_at(config, self.key)
        inside = isinstance(own, int | float) and self.settings.low <= own <= self.settings.high
        return {self.key: own} if inside else None

    def ends(self) -> list[Any]:
        return [self.settings.low, self.settings.high]


class Choice:
    """A parameter is the value's JSON: choices may be lists and mappings."""

    def __init__(self, key: str, values: Sequence[Any]) -> None:
        self.key = key
        self.values = {json.dumps(value, sort_keys=True): value for value in values}

    def drawn(self, draw: Draw) -> Any:
        return self.values[draw.suggest_categorical(self.key, list(self.values))]

    def params(self, config: Config) -> Params | None:
        own = value_at(config, self.key)
        for name, value in self.values.items():
            if value_at(recipe(config, {self.key: value}), self.key) == own:
                return {self.key: name}
        return None

    def ends(self) -> list[Any]:
        return list(self.values.values())


class Mix:
    """Of text alone nothing else is drawn: what does not count is no parameter."""

    key = OBJECTIVE

    def __init__(self, settings: MixConfig) -> None:
        self.settings = settings

    def drawn(self, draw: Draw) -> Any:
        text = draw.suggest_categorical(f"{self.key}.text", self.settings.text)
        if text == 1.0:
            return parts_of(text, "", 1.0, "constant")
        kind = draw.suggest_categorical(f"{self.key}.divergence", self.settings.divergences)
        temperature = draw.suggest_categorical(
            f"{self.key}.temperature", self.settings.temperatures
        )
        schedule = "constant"
        if temperature != 1.0:
            schedule = draw.suggest_categorical(f"{self.key}.schedule", self.settings.schedules)
        return parts_of(text, kind, temperature, schedule)

    def params(self, config: Config) -> Params | None:
        """Whatever draws these parts, found by trying all that can be drawn."""
        for choice in product(*self._choices().values()):
            fixed = dict(zip(self._choices(), choice, strict=True))
            drawn = Fixed(fixed)
            built = [PartConfig.model_validate(part) for part in self.drawn(drawn)]
            if tuple(built) == config.finetune.objective:
                return drawn.used
        return None

    def ends(self) -> list[Any]:
        every = product(*self._choices().values())
        return [self.drawn(Fixed(dict(zip(self._choices(), one, strict=True)))) for one in every]

    def _choices(self) -> dict[str, tuple[Any, ...]]:
        settings = self.settings
        return {
            f"{self.key}.text": settings.text,
            f"{self.key}.divergence": settings.divergences,
            f"{self.key}.temperature": settings.temperatures,
            f"{self.key}.schedule": settings.schedules,
        }


class Mixture:
    """Weights are beside that of the first group: twice as much of everything is the same."""

    key = MIXTURE

    def __init__(self, settings: MixtureRangeConfig) -> None:
        self.settings = settings

    def drawn(self, draw: Draw) -> Any:
        """None where all weights are alike, which is how a config says it."""
        first, *others = self.settings.groups
        low, high = self.settings.low, self.settings.high
        weights = {first: 1.0} | {
            group: draw.suggest_float(f"{self.key}.{group}", low, high, log=True)
            for group in others
        }
        alike = all(weight == 1.0 for weight in weights.values())
        return None if alike else {"by": self.settings.by, "weights": weights}

    def params(self, config: Config) -> Params | None:
        own = config.finetune.mixture or MixtureConfig(by=self.settings.by, weights={"": 1.0})
        first, *others = (own.weights.get(group, 1.0) for group in self.settings.groups)
        if own.by != self.settings.by or not first:
            return None
        found = {
            f"{self.key}.{group}": weight / first
            for group, weight in zip(self.settings.groups[1:], others, strict=True)
        }
        inside = all(self.settings.low <= one <= self.settings.high for one in found.values())
        return found if inside else None

    def ends(self) -> list[Any]:
        names = [f"{self.key}.{group}" for group in self.settings.groups[1:]]
        ends = (self.settings.low, self.settings.high)
        return [self.drawn(Fixed(dict.fromkeys(names, end))) for end in ends]


class Fixed:
    """A draw whose outcome is known; `used` is what was asked for."""

    def __init__(self, values: Params) -> None:
        self.values = values
        self.used: Params = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.used[name] = self.values[name]
        return self.values[name]

    def suggest_int(self, name: str, low: int, high: int, **_how: Any) -> int:
        return int(self.suggest_categorical(name, ()))

    def suggest_float(self, name: str, low: float, high: float, **_how: Any) -> float:
        return float(self.suggest_categorical(name, ()))


def axis_of(key: str, dimension: Any) -> Axis:
    if isinstance(dimension, RangeConfig):
        return Range(key, dimension)
    if isinstance(dimension, MixConfig):
        return Mix(dimension)
    if isinstance(dimension, MixtureRangeConfig):
        return Mixture(dimension)
    return Choice(key, dimension)


def recipe(config: Config, changes: Changes) -> Config:
    """The same job with `changes`. Raises ConfigError: it cannot take one of them."""
    raw = config.model_dump(exclude_unset=True)
    for key, value in changes.items():
        put(raw, key, value, where=f"tune.space.{key}")
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, "tune.space", Config) from None


def value_at(config: Config, key: str) -> Any:
    """Of `finetune.epochs`; None where a section on the way is absent."""
    node: Any = config
    for name in key.split("."):
        node = getattr(node, name, None)
    return node


def parts_of(text: float, kind: str, temperature: float, schedule: str) -> list[dict[str, Any]]:
    """An objective of `text` parts cross-entropy and the rest of a divergence.

    Its temperature is the same throughout, or comes down to 1: over the training, or from rows that
    the teacher doubts to those that it is sure of (`per_sample`).
    """
    answers = {"kind": "cross_entropy", "weight": text}
    if text == 1.0:
        return [answers]
    warm: Any = temperature
    if schedule != "constant":
        warm = {"start": temperature, "end": 1.0, "shape": schedule}
    doubts = {"kind": kind, "weight": 1.0 - text, "temperature": warm}
    return [doubts, answers] if text else [doubts]
