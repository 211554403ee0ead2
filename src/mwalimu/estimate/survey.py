"""One pass over the rows: how many requests, how long, how many answered already, and a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from mwalimu.data.record import Record
from mwalimu.data.reservoir import Reservoir
from mwalimu.data.seen import FirstSeen
from mwalimu.estimate.plan import ON_MACHINE, Place, Plan, Portion
from mwalimu.estimate.tokens import size_of
from mwalimu.synthesis.ensemble.best import ROWS_A_TASK

SAMPLE = 500  # rows whose tokens are counted

Splits = Mapping[str, Iterable[Record]]


@dataclass(slots=True)
class Survey:
    """Of one stage. `planned` and `stored` are by the keys of the places.

    `draws` are the answers that the stage wants; `trained` the prompts that the student learns,
    `longest` the bytes of the longest of them; `trials` the draws with which every member of
    strategy best is tried.
    """

    rows: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    draws: int = 0
    planned: dict[str, Portion] = field(default_factory=dict)
    stored: dict[str, Portion] = field(default_factory=dict)
    trained: Portion = field(default_factory=Portion)
    longest: int = 0
    trials: int = 0
    sample: list[Record] = field(default_factory=list)


def take_survey(plan: Plan, splits: Splits, holds: Callable[[str], bool]) -> Survey:
    """`holds` tells whether the answer store has the answer of a request's key."""
    survey = Survey()
    for place in plan.places:
        survey.planned[place.key], survey.stored[place.key] = Portion(), Portion()
    sample = Reservoir[Record](SAMPLE, plan.config.seed)
    graded: dict[str, int] = {}
    for split, record, repeated in distinct(splits):
        survey.rows[split] = survey.rows.get(split, 0) + 1
        survey.duplicates += repeated
        if split == "train" and not (repeated and plan.config.generate.deduplicate):
            _add_trained(survey, plan, record)
        if repeated:  # the same request, whose answer is there by then
            continue
        sample.offer(record)
        if split == "validation" and record.reference is not None:
            graded[record.task] = graded.get(record.task, 0) + 1
        for place in plan.places:
            _add(survey, plan, place, record, holds)
        survey.draws += plan.config.generate.samples
    survey.trials = sum(min(count, ROWS_A_TASK) for count in graded.values())
    survey.sample = sample.items()
    return survey


def _add(
    survey: Survey, plan: Plan, place: Place, record: Record, holds: Callable[[str], bool]
) -> None:
    one = plan.one(place, record)
    looked_up = place.number is not None and place.teacher.resolved_kind not in ON_MACHINE
    for sample in range(plan.config.generate.samples):
        for number in plan.draws(place, record, sample):
            survey.planned[place.key].add(one)
            if looked_up and holds(plan.first_key(place, record, number)):
                survey.stored[place.key].add(one)


def _add_trained(survey: Survey, plan: Plan, record: Record) -> None:
    """The student sees what the user wrote, without the instruction."""
    questions = plan.questions(record)
    sizes = [size_of(question, record.tools) for question in questions]
    survey.trained.add(Portion(len(sizes), sum(sizes)), plan.config.generate.samples)
    survey.longest = max(survey.longest, *sizes)


def distinct(splits: Splits) -> Iterator[tuple[str, Record, bool]]:
    """(split, record, whether its prompt repeats that of an earlier row, of any split)."""
    with FirstSeen() as seen:
        for split, records in splits.items():
            for record in records:
                asked = [[message.to_json() for message in record.messages], record.tools]
                text = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
                repeated = seen.first(hashlib.sha256(text).digest(), 1) is not None
                yield split, record, repeated
