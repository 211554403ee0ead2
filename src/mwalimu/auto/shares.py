"""One budget for a whole job: what of it may buy answers, and what is left for the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mwalimu.config import AutoConfig, BudgetConfig
from mwalimu.tuning.budget import Budget, parse_budget

LEAST_SECONDS = 1.0  # below which a share of time is none


class Used(NamedTuple):
    """So far, by all lives: seconds of work, and dollars that the teachers took."""

    seconds: float
    usd: float


@dataclass(frozen=True, slots=True)
class Shares:
    """`usd_per_hour` is the machine's price, None where it is not known: then it costs nothing."""

    settings: AutoConfig
    usd_per_hour: float | None

    @property
    def budget(self) -> Budget:
        """Raises ConfigError: it cannot be read."""
        return parse_budget(self.settings.budget) if self.settings.budget else Budget()

    def of_buying(self, written: BudgetConfig) -> BudgetConfig:
        """The teachers' own caps, with that share of the dollars among them."""
        if self.budget.usd is None:
            return written
        share = self.settings.buying * self.budget.usd
        return written.model_copy(update={"usd": min(share, written.usd or share)})

    def why_no_round(self, used: Used, last: float) -> str:
        """Why no further round of buying may begin; empty if it may.

        `last` is how many seconds the last one took.
        """
        if self.budget.seconds is None:
            return ""
        share = self.settings.buying * self.budget.seconds
        if used.seconds + last <= share:
            return ""
        return f"the next would not end within the {share / 60:,.1f} minutes that buying may take"

    def of_search(self, used: Used) -> str:
        """The search's budget in its own words; empty where nothing would end it, or is left."""
        words = []
        if self.budget.seconds is not None:
            left = self.settings.tuning * (self.budget.seconds - used.seconds)
            words.append((left, LEAST_SECONDS, f"{left:.3f}s"))
        if self.budget.usd is not None and self.usd_per_hour:
            paid = used.usd + self.usd_per_hour * used.seconds / 3600
            left = self.settings.tuning * (self.budget.usd - paid)
            words.append((left, LEAST_SECONDS * self.usd_per_hour / 3600, f"{left:.6f}usd"))
        if any(left < least for left, least, _ in words):
            return ""
        trials = [] if self.budget.trials is None else [f"{self.budget.trials}trials"]
        return ",".join([*(word for _, _, word in words), *trials])
