"""What may vary: keys of the config with their values, as parameters of a trial and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from pydantic import ValidationError

from mwalimu.config import Config, MixConfig, PartConfig, RangeConfig, put
from mwalimu.config.loading import config_error
from mwalimu.errors import ConfigError

OBJECTIVE = "finetune.objective"
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
            return parts_of(text, "", 1.0, False)
        kind = draw.suggest_categorical(f"{self.key}.divergence", self.settings.divergences)
        temperature = draw.suggest_categorical(
            f"{self.key}.temperature", self.settings.temperatures
        )
        falls = self.settings.anneal and temperature != 1.0
        falls = falls and draw.suggest_categorical(f"{self.key}.anneal", (False, True))
        return parts_of(text, kind, temperature, falls)

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
            f"{self.key}.anneal": (False, True) if settings.anneal else (False,),
        }


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


class Space:
    """`config` is the job as it was asked for: the recipe that a search begins from.

    `objective` is what is chosen for it where the config leaves that open.
    """

    def __init__(self, config: Config, objective: tuple[PartConfig, ...]) -> None:
        self.config = config
        finetune = config.finetune.model_copy(update={"objective": objective})
        self._settled = config.model_copy(update={"finetune": finetune})
        dimensions = config.tune.space or usual(self._settled)
        self.axes = [_axis(key, dimension) for key, dimension in sorted(dimensions.items())]

    def drawn(self, draw: Draw) -> dict[str, Any]:
        return {axis.key: axis.drawn(draw) for axis in self.axes}

    def own(self) -> Params:
        """The parameters of the recipe as it is written.

        Raises:
            ConfigError: the space leaves it out, or names what the config cannot take.
        """
        found: Params = {}
        for axis in self.axes:
            for value in axis.ends():
                recipe(self.config, {axis.key: value})
            own = axis.params(self.config)
            if own is None:
                own = axis.params(self._settled)
            if own is None:
                shown = value_at(self.config, axis.key)
                raise ConfigError(
                    f"leaves out {shown!r:.200}, which the config says itself",
                    where=f"tune.space.{axis.key}",
                    fix="widen it: the first trial is the recipe as it is written",
                )
            found |= own
        return found


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


def parts_of(text: float, kind: str, temperature: float, falls: bool) -> list[dict[str, Any]]:
    """An objective of `text` parts cross-entropy and the rest of a divergence.

    A temperature that `falls` goes evenly to 1.
    """
    answers = {"kind": "cross_entropy", "weight": text}
    if text == 1.0:
        return [answers]
    warm = {"start": temperature, "end": 1.0} if falls else temperature
    doubts = {"kind": kind, "weight": 1.0 - text, "temperature": warm}
    return [doubts, answers] if text else [doubts]


def usual(config: Config) -> dict[str, Any]:
    """The space where the config names none: around the recipe that it says itself."""
    finetune, student = config.finetune, config.student
    rate, epochs = finetune.learning_rate, finetune.epochs
    space: dict[str, Any] = {
        "finetune.learning_rate": RangeConfig(low=rate / 8, high=rate * 8, log=True),
        "finetune.batch_size": _around(finetune.batch_size),
        "finetune.epochs": RangeConfig(low=max(1, epochs // 2), high=2 * epochs),
    }
    if student.adapts:
        space["student.lora_rank"] = _around(student.lora_rank)
    if _hears_distribution(config):
        mix = MixConfig(temperatures=(1.0, 2.0))
        if Mix(mix).params(config) is not None:
            space[OBJECTIVE] = mix
    return space


def _around(number: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, number // 2), number, 2 * number}))


def _hears_distribution(config: Config) -> bool:
    """Whether this student could learn from a local teacher's distribution at any temperature."""
    from mwalimu.choosing import choose

    if config.teacher.resolved_kind != "local":
        return False
    open_ = config.finetune.model_copy(update={"objective": (), "teacher": "auto"})
    parts = choose(config.model_copy(update={"finetune": open_})).config.finetune.objective
    return any(part.kind == "forward_kl" for part in parts)


def _axis(key: str, dimension: Any) -> Axis:
    if isinstance(dimension, RangeConfig):
        return Range(key, dimension)
    if isinstance(dimension, MixConfig):
        return Mix(dimension)
    return Choice(key, dimension)
