"""What may vary, and what of it has a meaning beside the rest of a recipe.

A student is drawn first: whether it has an adapter, and whether it can hear the teacher's
distribution, decides which of the other keys there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from mwalimu.config import Config, PartConfig
from mwalimu.errors import ConfigError
from mwalimu.tuning.axes import (
    OBJECTIVE,
    Axis,
    Changes,
    Choice,
    Draw,
    Mix,
    Params,
    axis_of,
    recipe,
    value_at,
)
from mwalimu.tuning.usual import NOTHING_KNOWN, Known, hears_distribution, usual

MODEL, METHOD = "student.model", "student.method"
DRAWN_FIRST = (MODEL, METHOD)
"""What other keys depend on."""
OF_ADAPTERS = "student.lora_"


class Space:
    """`config` is the job as it was asked for: the recipe that a search begins from.

    `objective` is what is chosen for it where the config leaves that open; `known` what stage 1
    gave, by which filters and mixtures are looked for where the config names no space.
    """

    def __init__(
        self, config: Config, objective: tuple[PartConfig, ...], known: Known = NOTHING_KNOWN
    ) -> None:
        self.config = config
        finetune = config.finetune.model_copy(update={"objective": objective})
        self._settled = config.model_copy(update={"finetune": finetune})
        dimensions = dict(config.tune.space) or usual(self._settled, known)
        if config.tune.students:
            dimensions[MODEL] = tuple(dict.fromkeys((config.student.model, *config.tune.students)))
        self.axes = [axis_of(key, dimensions[key]) for key in sorted(dimensions, key=_place)]
        self._hears = cache(self._could_hear)

    @property
    def students(self) -> tuple[str, ...]:
        """Those that may learn; one where that is not searched."""
        axis = next((axis for axis in self.axes if axis.key == MODEL), None)
        return tuple(axis.values.values()) if isinstance(axis, Choice) else (self._own_student,)

    def drawn(self, draw: Draw) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for axis in self.axes:
            if self._applies(axis, changes):
                changes[axis.key] = axis.drawn(draw)
            elif axis.key == OBJECTIVE:
                changes[OBJECTIVE] = "auto"
        return changes

    def own(self) -> Params:
        """The parameters of the recipe as it is written.

        Raises:
            ConfigError: the space leaves it out, or names what the config cannot take.
            StudentError: a student cannot be read.
        """
        found: Params = {}
        for axis in self.axes:
            for value in axis.ends():
                recipe(self.config, {axis.key: value})
        if len(self.students) > 1 and any(isinstance(axis, Mix) for axis in self.axes):
            for model in self.students:
                self._hears(model)
        for axis in self._applying():
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

    def _applying(self) -> Iterator[Axis]:
        """The axes of the recipe as it is written."""
        return (axis for axis in self.axes if self._applies(axis, {}))

    def _applies(self, axis: Axis, changes: Changes) -> bool:
        """Whether the key means anything beside what has been drawn so far."""
        if axis.key.startswith(OF_ADAPTERS):
            method = changes.get(METHOD, self.config.student.method)
            return bool(method != "full")
        if isinstance(axis, Mix) and len(self.students) > 1:
            return self._hears(str(changes.get(MODEL, self._own_student)))
        return True

    def _could_hear(self, model: str) -> bool:
        student = self._settled.student.model_copy(update={"model": model})
        return hears_distribution(self._settled.model_copy(update={"student": student}))

    @property
    def _own_student(self) -> str:
        return self.config.student.model


def _place(key: str) -> tuple[int, str]:
    return (DRAWN_FIRST.index(key) if key in DRAWN_FIRST else len(DRAWN_FIRST), key)
