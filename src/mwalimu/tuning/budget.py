"""The words of a budget, such as `2h,50trials`, and what of it is left."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mwalimu.errors import ConfigError

_WORD = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|usd|trials?)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
FIX = "say --budget 2h, 30m, 20usd, 50trials, or several with commas between"


@dataclass(frozen=True, slots=True)
class Spent:
    """`seconds` are those of all trials, one after another or not."""

    seconds: float
    usd: float
    trials: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Caps; None is none. The search ends at the first that is reached."""

    seconds: float | None = None
    usd: float | None = None
    trials: int | None = None

    def is_spent(self, spent: Spent) -> bool:
        """Whether no further trial may begin."""
        pairs = (
            (self.seconds, spent.seconds),
            (self.usd, spent.usd),
            (self.trials, spent.trials),
        )
        return any(cap is not None and used >= cap for cap, used in pairs)

    def seconds_left(self, spent: Spent, usd_per_second: float) -> float | None:
        """Until time or money is up, of one trial at work; None where neither is capped."""
        left = [] if self.seconds is None else [self.seconds - spent.seconds]
        if self.usd is not None and usd_per_second:
            left.append((self.usd - spent.usd) / usd_per_second)
        return max(0.0, min(left)) if left else None


def parse_budget(text: str | None) -> Budget:
    """Raises ConfigError: it is empty, says a thing twice, or cannot be read."""
    if not text:
        raise ConfigError("a search has no end by itself", where="tune.budget", fix=FIX)
    found: dict[str, float] = {}
    for word in text.split(","):
        match = _WORD.fullmatch(word.strip().lower())
        if match is None:
            raise ConfigError(f"{word.strip()!r} is no budget", where="tune.budget", fix=FIX)
        number, unit = float(match[1]), match[2]
        name = "seconds" if unit in _SECONDS else "usd" if unit == "usd" else "trials"
        if name in found:
            raise ConfigError(f"{text!r} caps {name} twice", where="tune.budget", fix=FIX)
        if number <= 0 or (name == "trials" and number != int(number)):
            raise ConfigError(f"{word.strip()!r} is no budget", where="tune.budget", fix=FIX)
        found[name] = number * _SECONDS.get(unit, 1.0)
    trials = found.get("trials")
    return Budget(found.get("seconds"), found.get("usd"), None if trials is None else int(trials))
