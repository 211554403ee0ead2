"""Answers are bought while they pay: choose, buy, train, grade, and decide whether to go on.

A round is the run's own stages on the prompts that were chosen so far. So the last round is the
run, answers come through the one store and budget, and a killed round goes on like any run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from heapq import nsmallest

import orjson

from mwalimu.buying.book import Book
from mwalimu.buying.choice import by_doubt
from mwalimu.buying.decision import Decision, Next, decide
from mwalimu.buying.forecast import Point
from mwalimu.buying.ledger import Paid
from mwalimu.buying.looking import Look
from mwalimu.config import ActiveConfig
from mwalimu.data.dataset import Dataset
from mwalimu.data.readers import to_record
from mwalimu.data.record import Record
from mwalimu.errors import BudgetReached, ConfigError, DataError
from mwalimu.pipeline import Pipeline
from mwalimu.run import fingerprint

SHARE = 10  # of the prompts one part a round, unless the config says otherwise


def buy(pipeline: Pipeline, *, why_no_round: Callable[[], str] = str) -> Pipeline:
    """All rounds that are left; returns the pipeline on what was bought, its student trained.

    `why_no_round` is asked after each round; what it says ends the buying.

    Raises:
        ConfigError: there is no section active.
        RunError: rounds here were chosen from other prompts, or by other settings.
        DataError: no validation row was answered, so nothing shows what a round brought.
        BudgetReached: not even one row of round 0 fits the budget.
    """
    if pipeline.asked.active is None:
        fix = "add 'active: {}' to distill.yaml; docs/buying.md has its settings"
        raise ConfigError("is not set", where="active", fix=fix)
    if pipeline.asked.prompts is not None:
        pipeline.synthesise()
    return _Rounds(pipeline, pipeline.asked.active, Book(pipeline.run), why_no_round).finished()


@dataclass
class _Rounds:
    start: Pipeline
    settings: ActiveConfig
    book: Book
    why_no_round: Callable[[], str]

    def finished(self) -> Pipeline:
        self._require_same()
        decisions: list[Decision] = []
        while not decisions or decisions[-1].buy or self.book.is_chosen(len(decisions)):
            number = len(decisions)
            if not self.book.is_chosen(number):
                self._choose(number, decisions[-1].buy if decisions else self._size(0))
            if not self.book.is_measured(number):
                self._measure(number, self._taught(number))
            decisions.append(self._decision(number + 1))
            self.book.write_decisions(decisions)
            self._say(decisions[-1])
        pipeline = self._taught(len(decisions) - 1)
        told = [one.to_json() for one in decisions]
        pipeline.run.describe(buying={"prompts": len(self.pool), "decisions": told})
        return pipeline

    def _require_same(self) -> None:
        only_when_it_ends = {"rounds", "stop_below", "usd_per_point"}
        self.book.require_same(
            {
                "active": self.settings.model_dump(exclude=only_when_it_ends),
                "pool": [self.pool.shards.sha256(), len(self.pool)],
                "seed": self.start.asked.seed,
            }
        )

    @cached_property
    def pool(self) -> Dataset:
        """The prompts that could be bought."""
        self.start.prepare()
        return self.start.pool["train"]

    def _size(self, number: int) -> int:
        asked = self.settings.batch if number else self.settings.first
        return asked or max(1, len(self.pool) // SHARE)

    def _say(self, decision: Decision) -> None:
        said = decision.in_words()
        self.start.progress("buying", decision.round + 1, self.settings.rounds, said)

    def _choose(self, number: int, count: int) -> None:
        """Round 0 is as good as random; the student of the round before chooses a later one."""
        if number == 0 or self.settings.by == "random":
            chosen = self._in_hash_order(number, count)
        else:
            self._taught(number - 1)  # where a resume finds it gone
            rows = self._in_hash_order(number, max(count, self.settings.look_at))
            doubts = self._look().doubts(rows, self._told(number, "is asked what it doubts"))
            places = by_doubt(rows, doubts, count, seed=self.start.asked.seed + number)
            chosen = [rows[place] for place in places]
        self.book.choose(number, [row.id for row in chosen])

    def _in_hash_order(self, number: int, count: int) -> list[Record]:
        """`count` of the prompts that are not bought, whatever order the file is in."""
        seed, bought = self.start.asked.seed, self.book.bought(number)

        def key(row: Record) -> bytes:
            named = f"{seed}:{number}:{row.id}".encode("utf-8", "surrogatepass")
            return blake2b(named, digest_size=16).digest()

        return nsmallest(count, (row for row in self.pool if row.id not in bought), key=key)

    def _taught(self, number: int) -> Pipeline:
        """The run folder on rounds 0 to `number`: answered, learned; nothing that is done already.

        Where the budget ends within a round, the round is cut: to the first half of its rows in
        the order of asking, again and again, until what is left is bought.
        """
        while True:
            bought = self.book.bought(number + 1)
            self.book.write_prompts(row for row in self.pool if row.id in bought)
            start = self.start
            pipeline = Pipeline(
                start.asked, start.run.root, store=start.store, progress=start.progress
            )
            try:
                pipeline.generate()
            except BudgetReached as reached:
                self._cut(number, reached)
                continue
            pipeline.curate()
            pipeline.signals()
            pipeline.finetune()
            return pipeline

    def _cut(self, number: int, reached: BudgetReached) -> None:
        mine = set(self.book.ids(number))
        kept = [row.id for row in self.pool if row.id in mine][: len(mine) // 2]
        if not kept and not number:
            raise reached
        self.book.choose(number, kept, cut=True)

    def _measure(self, number: int, pipeline: Pipeline) -> None:
        rows = _graded(pipeline)
        scores = self._look().scores(rows, self._told(number, "is graded"))
        graded = fingerprint([row.id for row in rows])
        point = Point(len(self.book.bought(number + 1)), tuple(scores), graded=graded)
        draws = self.start.asked.generate.samples
        self.book.measure(number, point, Paid.of(pipeline.run, draws=draws))

    def _look(self) -> Look:
        return Look.of(self.start.run.path("finetune", "student"), self.start.asked)

    def _told(self, number: int, what: str) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            self.start.progress(f"round {number}", done, total, f"the student {what}")

        return told

    def _decision(self, rounds: int) -> Decision:
        points, paid = self.book.points(rounds), self.book.paid(rounds - 1)
        return decide(points, self.settings, self._offer(points, paid), self.start.asked.seed)

    def _offer(self, points: tuple[Point, ...], paid: Paid) -> Next:
        """What the next round could be."""
        number, left = len(points), len(self.pool) - points[-1].rows
        affordable, usd = paid.affordable(self.start.asked.budget), paid.usd_of_a_prompt
        if not left:
            return Next(0, usd, "all prompts are bought")
        if number >= self.settings.rounds:
            return Next(0, usd, f"{self.settings.rounds} rounds were asked for")
        if affordable is not None and (affordable < 1 or self.book.was_cut(number - 1)):
            return Next(0, usd, "the budget is used up")
        if why := self.why_no_round():
            return Next(0, usd, why)
        wanted = min(self._size(number), left)
        return Next(wanted if affordable is None else min(wanted, affordable), usd)


def _graded(pipeline: Pipeline) -> list[Record]:
    """The validation rows that were answered, by the gold answer, or the teacher's where none is.

    Raises:
        DataError: there is none.
    """
    path = pipeline.run.path("generate", "validation.jsonl")
    lines = path.read_bytes().splitlines() if path.is_file() else []
    found = []
    for row in map(orjson.loads, lines):
        record = to_record(row, task=pipeline.asked.task, default_id="")
        found.append(replace(record, reference=row.get("reference", record.reference)))
    if not found:
        raise DataError("has no answered row to grade a student by", where=str(path))
    return found
