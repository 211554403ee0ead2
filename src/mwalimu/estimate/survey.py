"""One pass over the rows: how many requests, how long, how many answered already, and a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mwalimu.data.asked import asked_digest
from mwalimu.data.record import Record
from mwalimu.data.reservoir import Reservoir
from mwalimu.data.seen import FirstSeen
from mwalimu.estimate.plan import ON_MACHINE, Place, Plan, Portion, Weighed
from mwalimu.synthesis.ensemble.best import ROWS_A_TASK

SAMPLE = 500  # rows whose tokens are counted

Splits = Mapping[str, Iterable[Record]]
Holds = Callable[[str], bool]


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


def take_survey(plan: Plan, splits: Splits, holds: Holds | None) -> Survey:
    """`holds` tells whether the answer store has the answer of a request; None: it is empty."""
    survey = Survey()
    for place in plan.places:
        survey.planned[place.key], survey.stored[place.key] = Portion(), Portion()
    sample = Reservoir[Record](SAMPLE, plan.config.seed)
    graded: dict[str, int] = {}
    for split, record, repeated in distinct(splits):
        survey.rows[split] = survey.rows.get(split, 0) + 1
        survey.duplicates += repeated
        row = Weighed.of(plan, record)
        if split == "train" and not (repeated and plan.config.generate.deduplicate):
            _add_trained(survey, plan, row)
        if repeated:  # the same request, whose answer is there by then
            continue
        sample.offer(record)
        if split == "validation" and record.reference is not None:
            graded[record.task] = graded.get(record.task, 0) + 1
        for place in plan.places:
            _add(survey, plan, place, row, holds)
        survey.draws += plan.config.generate.samples
    survey.trials = sum(min(count, ROWS_A_TASK) for count in graded.values())
    survey.sample = sample.items()
    return survey


def _add(survey: Survey, plan: Plan, place: Place, row: Weighed, holds: Holds | None) -> None:
    record, one = row.record, plan.one(place, row)
    looked_up = place.number is not None and place.teacher.resolved_kind not in ON_MACHINE
    for sample in range(plan.config.generate.samples):
        for number in plan.draws(place, record, sample):
            survey.planned[place.key].add(one)
            if holds and looked_up and holds(plan.first_key(place, record, number)):
                survey.stored[place.key].add(one)


def _add_trained(survey: Survey, plan: Plan, row: Weighed) -> None:
    """The student sees what the user wrote, without the instruction."""
    sizes = row.sizes
    survey.trained.add(Portion(len(sizes), sum(sizes)), plan.config.generate.samples)
    survey.longest = max(survey.longest, *sizes)


def distinct(splits: Splits) -> Iterator[tuple[str, Record, bool]]:
    """(split, record, whether its prompt repeats that of an earlier row, of any split)."""
    with FirstSeen() as seen:
        for split, records in splits.items():
            for record in records:
                repeated = seen.first(asked_digest(record), 1) is not None
                yield split, record, repeated
