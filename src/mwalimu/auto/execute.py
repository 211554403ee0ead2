"""`mwalimu run --auto`: buys while it pays, searches with what is left, runs the choice to its end.

Each decision is in the book before what follows from it is done, so a killed job goes on behind the
last one. Without `auto` a job is its rounds, if it has any, and the other stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from mwalimu.auto.book import BOUGHT, CHOSEN, ORDER, SHARED, Book, Decision
from mwalimu.auto.clock import Clock
from mwalimu.auto.settled import settled
from mwalimu.auto.shares import Shares, Used
from mwalimu.buying.ledger import Paid
from mwalimu.buying.rounds import buy
from mwalimu.config import ActiveConfig, Config, TuneConfig
from mwalimu.errors import ConfigError
from mwalimu.estimate import estimate
from mwalimu.pipeline import Pipeline
from mwalimu.run import Run, fingerprint
from mwalimu.tuning.axes import recipe
from mwalimu.tuning.conclusion import Conclusion, NothingMeasured
from mwalimu.tuning.launching import Launch
from mwalimu.tuning.search import Place, shown
from mwalimu.tuning.study import require_optuna
from mwalimu.tuning.tune import tune, with_settings


def execute(
    pipeline: Pipeline, *, auto: bool = False, launch: Launch | None = None
) -> tuple[Pipeline, dict[str, Any]]:
    """All stages that are not done yet; returns the pipeline on what was learned, and the scores.

    Raises:
        ConfigError: `auto` needs a cap for teachers that are paid, and validation rows.
        MissingDependency: its budget is for a search too, and Optuna is not installed.
    """
    if auto:
        return Job.of(pipeline, launch).finished()
    if pipeline.asked.active is not None:
        pipeline = buy(pipeline)
    return pipeline, pipeline.execute()


@dataclass
class Job:
    """`config` is the job in rounds, with the caps that buying has."""

    config: Config
    start: Pipeline
    shares: Shares
    clock: Clock
    book: Book
    launch: Launch | None

    @classmethod
    def of(cls, pipeline: Pipeline, launch: Launch | None) -> Job:
        asked = pipeline.asked
        shares = Shares(asked.auto, asked.evaluate.usd_per_hour)
        if shares.of_search(Used(0, 0)):
            require_optuna()
        capped = asked.model_copy(update={"budget": shares.of_buying(asked.budget)})
        folder = pipeline.run.path("auto")
        clock = Clock(folder / "clock.json")
        start = Pipeline(
            asked, pipeline.run.root, store=pipeline.store, progress=clock.told(pipeline.progress)
        )
        basis = fingerprint(asked.model_dump(mode="json"))
        book = Book(folder / "decisions.json", basis)
        return cls(in_rounds(capped), start, shares, clock, book, launch)

    def finished(self) -> tuple[Pipeline, dict[str, Any]]:
        self._decided(BOUGHT, self._buy)
        share = self._decided(SHARED, self._share_out).facts["budget"]
        chosen = self._decided(CHOSEN, partial(self._choose, share))
        told = [{"step": one.step, "said": one.said} for one in self.book.decisions]
        self._run.describe(auto={"budget": self.start.asked.auto.budget, "decisions": told})
        final = recipe(self.settled, chosen.facts["changes"])
        final = final.model_copy(update={"tune": TuneConfig()})
        pipeline = self._pipeline(final, donor=chosen.facts["trial"])
        summary = pipeline.execute()
        self.clock.keep()
        return pipeline, summary

    def _decided(self, step: str, make: Callable[[], Decision]) -> Decision:
        decision = self.book.once(step, make)
        self.clock.keep()
        self.start.progress("auto", ORDER.index(step) + 1, len(ORDER), decision.said)
        return decision

    def _buy(self) -> Decision:
        """Its estimate is told first: of all prompts, so at most."""
        start = self.start
        for line in estimate(self.config, store=start.store, folder=start.run.root).lines():
            start.progress("estimate, if all is bought", 0, 0, line)
        bought = buy(self._pipeline(self.config), why_no_round=self._timed())
        last = bought.run.manifest["buying"]["decisions"][-1]
        rows, prompts = last["rows"], bought.run.manifest["buying"]["prompts"]
        return Decision(BOUGHT, f"{rows:,} of {prompts:,} prompts were bought; {last['why']}")

    def _timed(self) -> Callable[[], str]:
        """Says why no further round may begin, when it is asked after each one."""
        began = time.monotonic()

        def why() -> str:
            nonlocal began
            took, began = time.monotonic() - began, time.monotonic()
            return self.shares.why_no_round(self._used, took)

        return why

    @property
    def _used(self) -> Used:
        paid = Paid.of(self._run)
        return Used(self.clock.seconds, paid.spent["usd"])

    def _share_out(self) -> Decision:
        """How much the search may take, fixed once: what is left then."""
        budget = self.shares.of_search(self._used)
        used = f"{self.clock.seconds / 60:,.1f} minutes and ${self._used.usd:,.2f} are used"
        if budget:
            share = f"{self.shares.settings.tuning:.0%} of what is left"
            return Decision(
                SHARED, f"the search may take {budget}: {used}; {share}", {"budget": budget}
            )
        return Decision(SHARED, f"no search: {self._why_no_search()}; {used}", {"budget": ""})

    def _why_no_search(self) -> str:
        if not self.shares.settings.budget:
            return "no budget was named for it, as in --budget 6h"
        if not self.shares.of_search(Used(0, 0)):
            return (
                "its dollars are the teacher's, as the machine has no price, and no hours are set"
            )
        return "nothing of its budget is left"

    def _choose(self, budget: str) -> Decision:
        written: dict[str, Any] = {"changes": {}, "trial": None}
        if not budget:
            return Decision(CHOSEN, "the recipe as it is written: nothing was searched", written)
        config = with_settings(self.settled, budget=budget, **_rule(self.settled.tune))
        searched = self._pipeline(config)
        try:
            found = tune(searched, look_at_test=False, launch=self.launch)
        except NothingMeasured as error:
            return Decision(CHOSEN, f"the recipe as it is written: {error.what}", written)
        facts = {"changes": found.of(found.chosen).changes, "trial": found.chosen}
        return Decision(CHOSEN, _in_words(found), facts)

    @cached_property
    def settled(self) -> Config:
        return settled(self.config, self._run)

    @property
    def _run(self) -> Run:
        """As its manifest is now: each pipeline has read it for itself."""
        return Run(self.start.run.root)

    def _pipeline(self, config: Config, *, donor: int | None = None) -> Pipeline:
        """With a trial as `donor`, whose student is the choice's and need not be trained again."""
        start = self.start
        place = Place(start.run.root, start.store, start.run.root)
        donors = [] if donor is None else [Run(place.trial(donor))]
        return Pipeline(
            config, start.run.root, store=start.store, progress=start.progress, donors=donors
        )


def in_rounds(config: Config) -> Config:
    """With a section active, its defaults where there is none.

    Raises:
        ConfigError: nothing caps what a served teacher may cost, or there are no validation rows.
    """
    capped = any(cap is not None for cap in config.budget.model_dump().values())
    if not capped and any(teacher.remote for teacher in config.teachers()):
        raise ConfigError(
            "has no cap, and the teacher is not on this machine",
            where="budget",
            fix="name one: --budget 20usd, or --set budget.requests=5000",
        )
    if config.active is not None:
        return config
    if config.data.validation is None:
        fix = "name a file of prompts that are not among those of data.train"
        raise ConfigError(
            "is not set, and shows what a round brings", where="data.validation", fix=fix
        )
    return config.model_copy(update={"active": ActiveConfig()})


def _rule(settings: TuneConfig) -> dict[str, Any]:
    """Of several students the smallest that is as good, unless the config says how to choose."""
    said = {"choose", "objectives"} & settings.model_fields_set
    return {} if said else {"choose": "smallest"}


def _in_words(found: Conclusion) -> str:
    measured = [trial for trial in found.trials if trial.state == "complete"]
    best = max(measured, key=lambda trial: (trial.values[0], -trial.number))
    chosen = found.of(found.chosen)
    lead = f"of {len(found.trials)} trials, {len(measured)} measured on {found.measured_on} rows, "
    if chosen.number == best.number:
        why = f"trial {chosen.number} is the best, {found.objectives[0]} {chosen.values[0]:.4g}"
    else:
        why = (
            f"trial {chosen.number} has the smallest student within noise of the best, "
            f"{chosen.values[0]:.4g} against {best.values[0]:.4g} of trial {best.number}"
        )
    return f"{lead}{why}: {shown(chosen.changes)}"
