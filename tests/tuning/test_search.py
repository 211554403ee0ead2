"""The search, over trials that run nowhere."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, ScaleConfig
from mwalimu.errors import (
    DiskFull,
    Misplaced,
    MissingDependency,
    MwalimuError,
    NonFiniteLoss,
    StudentError,
)
from mwalimu.progress import silent
from mwalimu.tuning.conclusion import conclude
from mwalimu.tuning.launching import Event
from mwalimu.tuning.search import Search, shown, student_of
from mwalimu.tuning.telling import lines
from mwalimu.tuning.trial import Order
from tests.tuning.jobs import SPACE, Nowhere, done, drawn, job, moment, quality, search, smooth

RATE = "finetune.learning_rate"


def states(found: Search) -> list[str]:
    return [state for _, state, _ in drawn(found)]


def test_the_recipe_as_written_comes_first_and_the_budget_ends_it(tmp_path: Path) -> None:
    launch = Nowhere()
    found = search(tmp_path, job(), launch, budget="5trials")
    found.run()
    assert len(launch.orders) == 5
    first = Config.model_validate(launch.orders[0].config)
    assert (first.finetune.learning_rate, first.finetune.epochs) == (1e-3, 3)
    assert [Path(order.folder).name for order in launch.orders] == [f"{n:04}" for n in range(5)]
    assert launch.orders[2].donors == tuple(
        map(str, (tmp_path, found.place.trial(0), found.place.trial(1)))
    )
    found.run()
    assert len(launch.orders) == 5


def test_the_best_is_what_was_measured_highest_and_earliest(tmp_path: Path) -> None:
    found = search(tmp_path, job(pruner="none"), Nowhere(), budget="15trials")
    found.run()
    values = [values[0] for _, _, values in drawn(found) if values]
    assert found.best()[0].number == values.index(max(values))
    assert max(values) > values[0]


def test_those_that_are_behind_at_the_same_epoch_end_early(tmp_path: Path) -> None:
    """Only what compares between objectives decides: what an answer costs."""
    launch = Nowhere()
    said: list[str] = []
    found = search(tmp_path, job(warm_up=3), launch, budget="20trials", said=said)
    found.run()
    pruned = [t for t in found.study.get_trials() if t.state.name == "PRUNED"]
    assert pruned and len(launch.stopped) == len(pruned)
    for trial in pruned:
        step, told = max(trial.intermediate_values.items())
        better = [
            other.intermediate_values[step]
            for other in found.study.get_trials()
            if step in other.intermediate_values and other.number < trial.number
        ]
        assert told < max(better)
        assert f"trial {trial.number}: ended at epoch {step // 100}, behind others" in said
    assert not any(trial.number == 0 for trial in pruned)


def test_the_recipe_as_written_is_never_ended_early(tmp_path: Path) -> None:
    """With several at a time others may be on a rung before it."""
    late: list[tuple[Order, Callable[[Event], None]]] = []
    worst = Nowhere(lambda _: [moment(1, 99.0), done(0.1)])

    def launch(order: Order, heard: Callable[[Event], None]) -> Any:
        if Path(order.folder).name == "0000":
            late.append((order, heard))
            return Nowhere(held=[0])(order, lambda _: None)
        running = Nowhere()(order, heard)
        while late:
            worst(*late.pop())
        return running

    found = search(tmp_path, job(parallel=2), launch, budget="3trials")  # type: ignore[arg-type]
    found.run()
    assert states(found)[0] == "COMPLETE"


def test_of_several_objectives_none_is_ended_early(tmp_path: Path) -> None:
    def outcome(config: Config) -> Sequence[Event]:
        value = quality(config)
        return [moment(1, 9.0), done(value, latency=0.1 * config.finetune.epochs)]

    config = job(objectives=["quality", "latency"])
    found = search(tmp_path, config, Nowhere(outcome), budget="15trials")
    found.run()
    assert set(states(found)) == {"COMPLETE"}
    front = [tuple(trial.values) for trial in found.best()]
    every = [tuple(values) for _, _, values in drawn(found) if values]
    for q, latency in every:
        assert any(fq >= q and fl <= latency for fq, fl in front)
    for q, latency in front:
        assert not any((oq > q and ol <= latency) or (oq >= q and ol < latency) for oq, ol in every)


def broken_unless_written(error: MwalimuError) -> Callable[[Config], Any]:
    return lambda c: smooth(c) if c.finetune.learning_rate == 1e-3 else error


def test_a_recipe_that_cannot_be_trained_fails_alone(tmp_path: Path) -> None:
    def outcome(config: Config) -> Any:
        if config.finetune.batch_size == 16:
            return NonFiniteLoss("the loss is not finite", where="finetune", fix="lower it")
        return smooth(config)

    said: list[str] = []
    config = job(pruner="none")
    found = search(tmp_path, config, Nowhere(outcome), budget="20trials", said=said)
    found.run()
    failed = [t for t in found.study.get_trials() if t.state.name == "FAIL"]
    assert failed and all(t.user_attrs["changes"]["finetune.batch_size"] == 16 for t in failed)
    assert failed[0].user_attrs["error"] == "finetune: the loss is not finite; lower it"
    assert len(found.study.get_trials()) == 20


def test_what_is_wrong_with_the_recipe_as_written_ends_the_search(tmp_path: Path) -> None:
    launch = Nowhere(lambda _: StudentError("cannot be loaded", where="student"))
    with pytest.raises(StudentError, match="cannot be loaded"):
        search(tmp_path, job(), launch).run()
    assert len(launch.orders) == 1


def test_a_trial_is_the_work_of_one_machine_and_has_no_mirror(tmp_path: Path) -> None:
    scaled = job().model_copy(
        update={"scale": ScaleConfig(engine="ray", mirror="s3://bucket/folder")}
    )
    launch = Nowhere()
    search(tmp_path, scaled, launch, budget="2trials").run()
    assert [Config.model_validate(one.config).scale for one in launch.orders] == [ScaleConfig()] * 2


@pytest.mark.parametrize("kind", [DiskFull, Misplaced, MissingDependency])
def test_what_would_end_every_trial_ends_the_search(
    tmp_path: Path, kind: type[MwalimuError]
) -> None:
    launch = Nowhere(broken_unless_written(kind("no space left on the disk", where="x")))
    found = search(tmp_path, job(), launch)
    with pytest.raises(kind):
        found.run()
    assert states(found) == ["COMPLETE", "RUNNING"]  # it goes on when there is space


def test_a_space_in_which_all_fail_is_not_searched_for_ever(tmp_path: Path) -> None:
    launch = Nowhere(broken_unless_written(NonFiniteLoss("not finite", where="finetune")))
    with pytest.raises(NonFiniteLoss):
        search(tmp_path, job(), launch, budget="1h").run()
    assert len(launch.orders) == 11


def test_a_process_that_dies_without_a_word_is_a_failed_trial(tmp_path: Path) -> None:
    def launch(order: Order, heard: Callable[[Event], None]) -> Any:
        if Path(order.folder).name == "0001":
            heard({"ended": {"code": -9, "said": "Killed"}})
            return Nowhere()(order, lambda _: None)
        return Nowhere()(order, heard)

    found = search(tmp_path, job(), launch, budget="3trials")  # type: ignore[arg-type]
    found.run()
    trial = found.study.get_trials()[1]
    assert trial.state.name == "FAIL"
    assert "ended with code -9 (Killed); see" in trial.user_attrs["error"]


def test_when_time_is_up_what_is_under_way_stops_and_can_go_on(tmp_path: Path) -> None:
    launch = Nowhere(held=[2])
    said: list[str] = []
    found = search(tmp_path, job(pruner="none"), launch, budget="0.4s", said=said)
    found.run()
    assert launch.stopped == ["0002"] and states(found) == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert "the budget is spent" in said[-1]
    spent = found.spent()
    assert round(spent.seconds, 3) >= 0.4 and spent.trials == 3
    changes = drawn(found)[2][0]
    again = Nowhere()
    more = search(tmp_path, job(pruner="none"), again, budget="1h,4trials")
    more.run()
    assert [Path(order.folder).name for order in again.orders] == ["0002", "0003"]
    assert drawn(more)[2][0] == changes and states(more) == ["COMPLETE"] * 4


def test_ctrl_c_stops_all_trials_first(tmp_path: Path) -> None:
    inner = Nowhere(held=[1])

    def launch(order: Order, heard: Callable[[Event], None]) -> Any:
        if Path(order.folder).name == "0002":
            raise KeyboardInterrupt
        return inner(order, heard)

    found = search(tmp_path, job(parallel=2), launch)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        found.run()
    assert inner.stopped == ["0001"]
    assert states(found) == ["COMPLETE", "RUNNING", "RUNNING"]


def test_several_at_the_same_time(tmp_path: Path) -> None:
    found = search(tmp_path, job(parallel=3, warm_up=3), Nowhere(), budget="10trials")
    found.run()
    assert len(drawn(found)) == 10 and "RUNNING" not in states(found)


def test_students_that_cannot_be_chosen_any_more_are_not_kept(tmp_path: Path) -> None:
    def launch(order: Order, heard: Callable[[Event], None]) -> Any:
        (Path(order.folder) / "finetune" / "student").mkdir(parents=True)
        (Path(order.folder) / "finetune" / "metrics.jsonl").touch()
        return Nowhere()(order, heard)

    found = search(tmp_path, job(pruner="none"), launch, budget="9trials")  # type: ignore[arg-type]
    found.run()
    kept = {path.parents[1].name for path in tmp_path.glob("tuning/trials/*/finetune/student")}
    assert kept == {"0000", f"{found.best()[0].number:04}"}
    assert len(list(tmp_path.glob("tuning/trials/*/finetune/metrics.jsonl"))) == 9


def test_the_best_of_each_student_is_kept_and_the_smallest_as_good_is_chosen(
    tmp_path: Path,
) -> None:
    """The middle one is behind the large one in one row of twenty, the small one in twelve."""
    right = {"student": 20, "middle": 19, "small": 8}
    sizes = {"student": 900, "middle": 90, "small": 9}

    def outcome(config: Config) -> Sequence[Event]:
        name = Path(config.student.model).name
        scores = [1.0] * right[name] + [0.0] * (20 - right[name])
        found = done(right[name] / 20, parameters=sizes[name])
        return [{"done": found["done"] | {"scores": scores}}]

    config = job(pruner="none", students=["org/middle", "org/small"], choose="smallest", warm_up=30)
    found = search(tmp_path, config, Nowhere(outcome), budget="25trials")
    found.run()
    contenders = {student_of(trial) for trial in found.best()}
    assert contenders == {"student", "org/middle", "org/small"}
    told = conclude(found, [], silent, graded_by="gold")
    assert told.of(told.chosen).student == "org/middle" and len(told.front) == 3
    report = "\n".join(lines(told, ""))
    assert "| org/middle (chosen) | 90 |" in report and "one standard error" in report
    best = found.config.tune.model_copy(update={"choose": "best"})
    found.config = found.config.model_copy(update={"tune": best})
    told = conclude(found, [], silent, graded_by="gold")
    assert told.of(told.chosen).student == "student"


def test_trials_are_held_to_those_that_were_validated_on_the_same_rows(tmp_path: Path) -> None:
    """A filter of long answers makes what is left cheaper, and is no better for it."""

    def outcome(config: Config) -> Sequence[Event]:
        short = config.curate.length.max_words is not None
        nats = 1.0 if short else 5.0 + config.finetune.learning_rate
        return [{"validated_on": str(short)}, moment(1, nats), done(0.5)]

    space = {"curate.length.max_words": [None, 5], "finetune.learning_rate": SPACE[RATE]}
    found = search(tmp_path, job(space=space), Nowhere(outcome), budget="15trials")
    found.run()
    ended = [(c.get("curate.length.max_words"), state) for c, state, _ in drawn(found)]
    assert (None, "COMPLETE") in ended[1:] and (5, "COMPLETE") in ended


def test_money_is_that_of_the_machine_and_of_the_teacher(tmp_path: Path) -> None:
    priced = {"usd_per_hour": 7200.0}  # two dollars a second

    def outcome(config: Config) -> Sequence[Event]:
        return [{"usd": 3.0}, done(quality(config))]

    config = job(pruner="none")
    evaluate = config.evaluate.model_copy(update=priced)
    found = search(
        tmp_path, config.model_copy(update={"evaluate": evaluate}), Nowhere(outcome), budget="5usd"
    )
    found.run()
    assert len(drawn(found)) == 2
    spent = found.spent()
    assert spent.usd == pytest.approx(6.0 + 2 * spent.seconds)


def test_a_recipe_in_one_line() -> None:
    mix = [
        {"kind": "jsd", "weight": 0.75, "temperature": {"start": 2.0, "end": 1.0}},
        {"kind": "cross_entropy", "weight": 0.25},
    ]
    changes = {"finetune.learning_rate": 0.00123456, "finetune.objective": mix, "data.max_rows": 9}
    assert shown(changes) == (
        "learning_rate 0.00123, objective 0.75 jsd at 2 to 1 (linear) + 0.25 cross_entropy, "
        "max_rows 9"
    )
