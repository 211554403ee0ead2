"""What the answers of a run cost so far, and how many more the budget's caps allow."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Self

from mwalimu.config import BudgetConfig
from mwalimu.run import Run


class Paid(NamedTuple):
    """`usd` of an accepted row, None where the price is unknown; `spent` by the cap's name.

    `taken` is what a prompt takes on average, by the cap's name, with all draws of its answer.
    """

    usd: float | None
    spent: dict[str, float]
    taken: dict[str, float]

    @classmethod
    def of(cls, run: Run, *, draws: int = 1) -> Self:
        """From the ledger of the finished stage generate; `draws` are generate.samples.

        Raises:
            RunError: there is none.
        """
        run.require("generate")
        ledger = json.loads(run.path("generate", "ledger.json").read_bytes())
        accepted = max(1, ledger["outcomes"].get("ok", 0))
        prompts = max(1, ledger["inputs"] - ledger["outcomes"].get("duplicate", 0)) / draws
        used = {
            "usd": ledger["usd"] or 0.0,
            "tokens": sum(ledger["tokens"].values()),
            "requests": ledger["requests_sent"] + ledger["answers_reused"],
        }
        usd = None if ledger["usd"] is None else ledger["usd"] / accepted
        return cls(usd, _spent(ledger["spent"]), {name: n / prompts for name, n in used.items()})

    @property
    def usd_of_a_prompt(self) -> float | None:
        return None if self.usd is None else self.taken["usd"]

    def affordable(self, budget: BudgetConfig) -> int | None:
        """Prompts that the caps allow at the average so far; None where nothing is capped."""
        left = [
            (cap - self.spent[name]) / self.taken[name]
            for name, cap in budget.model_dump().items()
            if cap is not None and self.taken[name] > 0
        ]
        return max(0, int(min(left))) if left else None


def _spent(spent: dict[str, Any]) -> dict[str, float]:
    """With what is unsettled at its worst, as the budget itself counts."""
    unsettled = spent["unsettled"]
    return {
        "usd": (spent["usd"] or 0.0) + (unsettled["usd"] or 0.0),
        "tokens": spent["prompt_tokens"] + spent["completion_tokens"] + unsettled["tokens"],
        "requests": spent["requests"],
    }
