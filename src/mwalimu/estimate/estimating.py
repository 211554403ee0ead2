"""STAGE 0: what a job will take. Spends nothing, but for a probe that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mwalimu.config import BudgetConfig, Config, TeacherConfig
from mwalimu.config.routing import terms_notice
from mwalimu.data.dataset import Checking, Dataset, open_dataset
from mwalimu.data.record import Record
from mwalimu.data.reservoir import Reservoir
from mwalimu.data.shards import rows_hash
from mwalimu.errors import ConfigError
from mwalimu.estimate.assumptions import Assumptions
from mwalimu.estimate.curation_side import scorer_cost
from mwalimu.estimate.measured import measured
from mwalimu.estimate.memory_side import Room
from mwalimu.estimate.plan import Plan
from mwalimu.estimate.probe import Probe, run_probe
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.result import Cap, Estimate, Probed
from mwalimu.estimate.signal_side import signal_side
from mwalimu.estimate.survey import Survey, distinct, take_survey
from mwalimu.estimate.teacher_side import Cost, PlaceCost, cost_of, total_cost
from mwalimu.estimate.training_side import training_side
from mwalimu.files import exclusive
from mwalimu.preparation.plan import facts, is_wanted, prepared_prompts
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint
from mwalimu.synthesis.index import Spend, StoredKeys

Rows = Iterable[Record]


def estimate(
    config: Config,
    *,
    store: Path,
    folder: Path | None = None,
    probe: int = 0,
    room: Room = Room(),  # noqa: B008  # it is frozen
    on_progress: Progress = lambda *_: None,
) -> Estimate:
    """`folder` is the run's: what it has spent counts, and a probe goes on its account.

    `probe` rows, drawn at random, are really asked, and their answers kept in `store`. `room` is
    the memory that training has, this machine's where it says nothing.

    Raises:
        ConfigError, DataError: of what is wrong with the job itself.
        TeacherError, BudgetReached, RunError: of the probe.
    """
    plan, splits = Plan(config), _splits(config, folder, spends=probe > 0)
    test_plan, test = _test(config)
    probed = _probe(plan, splits, store, folder, probe, on_progress) if probe else None
    with StoredKeys(store) as stored:
        holds = stored.holds if stored else None
        survey = take_survey(plan, splits, holds)
        surveys = [("generate", plan, survey)]
        if test_plan is not None:
            surveys.append(("evaluate", test_plan, take_survey(test_plan, test, holds)))
        spent = stored.spend(_account(folder))
    rates = _rates(plan, survey, probed)
    places: list[PlaceCost] = []
    cost = Cost()
    for stage, of_stage, seen in surveys:
        # The test rows are asked alike unless the conversations are of another kind.
        alike = of_stage.config.generate.conversation == config.generate.conversation
        stage_rates = rates if alike else _rates(of_stage, seen, None)
        costs = _costs(stage, of_stage, seen, stage_rates, probed)
        places += costs
        cost += total_cost(of_stage, seen, costs)
    if scorer := scorer_cost(plan, survey, rates["teacher"].answer):
        places.append(scorer)
        cost += scorer.cost
    answers = plan.turns * rates["teacher"].answer * survey.trained.requests
    return Estimate(
        rows={split: count for _, _, seen in surveys for split, count in seen.rows.items()},
        repeated=sum(seen.duplicates for _, _, seen in surveys),
        places=tuple(places),
        cost=cost,
        caps=tuple(_caps(config.budget, spent, cost)),
        signals=signal_side(config, answers),
        training=training_side(plan, survey, rates["teacher"], room),
        terms=_terms([one.teacher for one in places]),
        probed=None if probed is None else _facts(plan, probed),
    )


def _splits(config: Config, folder: Path | None, *, spends: bool) -> Mapping[str, Rows]:
    """The prompts of stage 1, every row of them looked at; those that `prepare` left, if it ran.

    Before anything is spent all rows are known to be good; where nothing is, they are checked while
    they are counted.
    """
    data, task = config.data, config.task
    if data.train is None:
        fix = "make them with 'mwalimu synthesise', then name prompts/train.jsonl as data.train"
        raise ConfigError("has to be made first", where="prompts", fix=fix)
    opened: Callable[..., Rows] = open_dataset if spends else Checking
    splits = {"train": opened(data.train, task=task, split="train", max_rows=data.max_rows)}
    if data.validation is not None:
        splits["validation"] = opened(data.validation, task=task, split="validation")
    if folder is None or not is_wanted(config):
        return splits
    paths = {"train": data.train, "validation": data.validation, "test": data.test}
    hashes = {split: rows_hash(path) for split, path in paths.items()}
    run = Run(folder)
    done = run.is_done("prepare", fingerprint(facts(config, hashes)))
    return prepared_prompts(run, task, splits) if done else splits


def _test(config: Config) -> tuple[Plan | None, dict[str, Dataset]]:
    """The test rows, where the evaluation asks a teacher for them."""
    on_machine = config.teacher.resolved_kind == "local"  # measured like a student
    as_student = on_machine and not (config.ensemble or config.generate.chain_of_thought)
    if config.data.test is None or "teacher" not in config.evaluate.arms or as_student:
        return None, {}
    settings = config.generate.model_copy(update={"samples": 1, "conversation": "last"})
    plan = Plan(config.model_copy(update={"generate": settings}))
    return plan, {"test": open_dataset(config.data.test, task=config.task, split="test")}


def _probe(
    plan: Plan,
    splits: Mapping[str, Rows],
    store: Path,
    folder: Path | None,
    size: int,
    on_progress: Progress,
) -> Probe:
    """Of the rows to train on, without those that repeat another."""
    lots = Reservoir[Record](size, plan.config.seed)
    for _, record, repeated in distinct({"train": splits["train"]}):
        if not repeated:
            lots.offer(record)
    with ExitStack() as stack:
        run_id = ""
        if folder is not None:
            stack.enter_context(exclusive(folder, "run folder"))
            run_id = Run(folder).id
        return run_probe(plan, store, run_id, lots.items(), on_progress)


def _account(folder: Path | None) -> bytes:
    """The run's name in the answer store; that of no run where it has none yet."""
    run_id = "" if folder is None else str(Run(folder).manifest.get("id", ""))
    return bytes.fromhex(run_id).ljust(16, b"\0")


def _rates(plan: Plan, survey: Survey, probed: Probe | None) -> dict[str, Rates]:
    assumptions = Assumptions(plan, survey)
    rates = {place.key: assumptions.of(place) for place in plan.places}
    if probed is not None:
        for place in plan.places:
            rates[place.key] = measured(plan, place, probed, rates[place.key])
    return rates


def _costs(
    stage: str, plan: Plan, survey: Survey, rates: dict[str, Rates], probed: Probe | None
) -> list[PlaceCost]:
    limits = {} if probed is None else probed.limits
    return [
        cost_of(stage, plan, place, survey, rates[place.key], limits.get(place.key))
        for place in plan.places
    ]


def _caps(budget: BudgetConfig, spent: Spend, cost: Cost) -> list[Cap]:
    """A request whose end is unknown counts at its worst, as in the run."""
    tokens = spent.prompt + spent.completion + spent.open_tokens
    usd = (spent.nano_usd + spent.open_nano_usd) / 1e9
    caps = [
        ("usd", budget.usd, usd, cost.usd),
        ("tokens", budget.tokens, tokens, cost.prompt_tokens + cost.answer_tokens),
        ("requests", budget.requests, spent.requests, cost.requests),
    ]
    return [Cap(name, cap, paid, needed) for name, cap, paid, needed in caps if cap is not None]


def _terms(teachers: Sequence[TeacherConfig]) -> tuple[str, ...]:
    notices = [_notice(teacher) for teacher in teachers if teacher.resolved_kind != "fake"]
    return tuple(dict.fromkeys(notices))


def _notice(teacher: TeacherConfig) -> str:
    known = terms_notice(teacher)
    return known or f"{teacher.model} is not in the registry: see what its licence allows"


def _facts(plan: Plan, probed: Probe) -> Probed:
    outcomes = dict(probed.outcomes)
    return Probed(
        len(probed.rows), probed.sent, probed.reused, probed.usd, outcomes, plan.is_served
    )
