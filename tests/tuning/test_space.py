"""Keys of the config as parameters, and back."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, MixConfig, MixtureConfig, PartConfig, Schedule
from mwalimu.errors import ConfigError
from mwalimu.tuning.axes import Fixed, Mix, parts_of, recipe
from mwalimu.tuning.space import Space
from mwalimu.tuning.usual import known_of, usual
from tests.finetune.taught import config_of, make_pair
from tests.tuning.jobs import job

LORA = {"method": "lora"}
HALVES = (PartConfig(kind="forward_kl", weight=0.5), PartConfig(kind="cross_entropy", weight=0.5))


def space_of(space: dict[str, Any], objective: tuple[PartConfig, ...] | None = None) -> Space:
    config = job(space=space)
    return Space(config, config.finetune.objective if objective is None else objective)


def test_a_recipe_is_the_job_with_other_values() -> None:
    config = job()
    found = recipe(config, {"finetune.epochs": 7})
    assert found.finetune.epochs == 7 and found.finetune.learning_rate == 1e-3


def test_the_first_trial_is_the_recipe_as_it_is_written() -> None:
    space = space_of(
        {
            "finetune.learning_rate": {"low": "1e-4", "high": 1e-2, "log": True},
            "finetune.batch_size": [4, 8],
            "finetune.epochs": {"low": 1, "high": 4},
            "finetune.objective": {"text": [0.5, 1.0]},
            "student.dtype": ["auto", "float32"],
        }
    )
    own = space.own()
    assert own == {
        "finetune.learning_rate": 1e-3,
        "finetune.batch_size": "8",
        "finetune.epochs": 3,
        "finetune.objective.text": 1.0,
        "student.dtype": '"auto"',
    }
    again = recipe(space.config, space.drawn(Fixed(own)))
    assert again.finetune == space.config.finetune and again.student == space.config.student


def test_an_objective_that_was_left_open_is_found_as_it_was_chosen() -> None:
    config = job(space={"finetune.objective": {}})
    open_ = config.finetune.model_copy(update={"objective": ()})
    space = Space(config.model_copy(update={"finetune": open_}), HALVES)
    own = space.own()
    assert own == {
        "finetune.objective.text": 0.5,
        "finetune.objective.divergence": "forward_kl",
        "finetune.objective.temperature": 1.0,
    }
    changed = recipe(space.config, space.drawn(Fixed(own)))
    assert changed.finetune.objective == HALVES


def test_a_temperature_that_falls_is_a_schedule() -> None:
    first, second = parts_of(0.25, "jsd", 4.0, "linear")
    assert PartConfig.model_validate(first).temperature == Schedule(start=4.0, end=1.0)
    assert (first["weight"], second["weight"]) == (0.75, 0.25)
    even = parts_of(0.0, "jsd", 2.0, "constant")
    assert even == [{"kind": "jsd", "weight": 1.0, "temperature": 2.0}]
    dimension = {"schedules": ["constant", "linear"], "temperatures": [1, 2]}
    mix = Mix(job(space={"finetune.objective": dimension}).tune.space["finetune.objective"])  # type: ignore[arg-type]
    built = [part["temperature"] for parts in mix.ends() for part in parts if "temperature" in part]
    falls = {"start": 2.0, "end": 1.0, "shape": "linear"}
    assert falls in built and falls | {"start": 1.0} not in built


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"finetune.batch_size": [4, 16]}, "finetune.batch_size: leaves out 8"),
        ({"finetune.epochs": {"low": 4, "high": 9}}, "finetune.epochs: leaves out 3"),
        ({"finetune.objective": {"text": [0.5]}}, "finetune.objective: leaves out"),
        ({"finetune.epoch": [3]}, "finetune.epoch: unknown key, did you mean 'epochs'"),
        ({"finetune.batch_size": [8, 0]}, "batch_size: Input should be greater"),
        ({"finetune.learning_rate": {"low": -1, "high": 1}}, "learning_rate: Input should be"),
        ({"finetune.learning_rate.more": [3]}, "'learning_rate' holds a value"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(space: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        space_of(space).own()


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"teacher.model": ["a", "b"]}, "teacher.model is not the recipe's"),
        ({"data.test": ["a"]}, "data.test is not the recipe's"),
        ({"finetune.epochs": []}, "has no choice"),
        ({"finetune.epochs": {"low": 3, "high": 3}}, "not below"),
        ({"finetune.learning_rate": {"low": 0, "high": 3, "log": True}}, "begins above 0"),
        ({"finetune.epochs": {"low": 1, "high": 9, "log": True, "step": 2}}, "has no step"),
        ({"finetune.epochs": {"text": [0.5]}}, "is of finetune.objective, not of finetune.epochs"),
        ({"finetune.objective": {"text": [1.5]}}, "a share is from 0 to 1"),
    ],
)
def test_a_space_that_is_none(space: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        job(space=space)


def test_the_usual_space_is_around_what_is_written() -> None:
    config = job(space={})
    assert set(usual(config)) == {
        "finetune.learning_rate",
        "finetune.batch_size",
        "finetune.epochs",
    }
    adapts = config.student.model_copy(update={"method": "lora"})
    space = Space(config.model_copy(update={"student": adapts}), config.finetune.objective)
    assert {axis.key for axis in space.axes} >= {"student.lora_rank"}
    assert space.own()["finetune.batch_size"] == "8"


def test_with_a_local_teacher_the_objective_is_searched_too(tmp_path: Path) -> None:
    from mwalimu.config import load_config
    from mwalimu.quickstart.job import write_job

    config: Config = load_config(write_job(tmp_path, rows=dict.fromkeys(("train",), 2)))
    space = Space(config, config.finetune.objective)
    assert space.own()["finetune.objective.text"] == 1.0


def test_students_among_the_choices_are_beside_the_config(tmp_path: Path) -> None:
    for name in ("student", "smaller"):
        (tmp_path / name).mkdir()
    config = job(tmp_path, space={"student.model": ["student", "smaller"]})
    assert config.tune.space["student.model"] == (
        str(tmp_path / "student"),
        str(tmp_path / "smaller"),
    )


@pytest.mark.parametrize(
    ("tune", "where"),
    [
        ({"students": ["phi-4-mni"]}, "tune.students"),
        ({"space": {"student.model": ["phi-4-mni"]}}, "tune.space.student.model"),
    ],
)
def test_a_misspelt_student_is_told_where_it_stands(tune: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match="did you mean phi-4-mini") as caught:
        job(**tune)
    assert caught.value.where == where


def test_a_students_key_has_the_students_and_only_what_they_can_have() -> None:
    config = job(students=["student", "other"], space={"student.lora_rank": [8, 16]})
    space = Space(config, config.finetune.objective)
    assert space.students == ("student", "other")
    assert space.own() == {"student.model": '"student"'}, "under method full there is no rank"
    drawn = space.drawn(Fixed({"student.model": '"other"'}))
    assert drawn == {"student.model": "other"}
    lora = config.model_copy(update={"student": config.student.model_copy(update=LORA)})
    assert "student.lora_rank" in Space(lora, config.finetune.objective).own()
    with pytest.raises(ConfigError, match="drop one of them"):
        job(students=["a"], space={"student.model": ["student", "a"]})
    with pytest.raises(ConfigError, match="objectives is quality"):
        job(students=["a"], choose="smallest", objectives=["latency"])


def test_a_student_of_other_tokens_is_taught_as_it_can_be(tmp_path: Path) -> None:
    """The mix is drawn where the teacher's distribution is heard; else the objective is auto."""
    pair = make_pair(tmp_path)
    other = make_pair(tmp_path / "other", other_tokens=True).teacher
    config = config_of(pair, "auto")
    tune = config.tune.model_copy(
        update={"students": (str(other),), "space": {"finetune.objective": MixConfig()}}
    )
    space = Space(config.model_copy(update={"tune": tune}), config.finetune.objective)
    assert space.own()["finetune.objective.text"] == 0.5
    chosen = {"student.model": json.dumps(str(other))}
    assert space.drawn(Fixed(chosen))["finetune.objective"] == "auto"


def test_a_mixture_is_of_weights_beside_the_first_group() -> None:
    dimension = {"groups": ["nli", "qa"], "low": 0.25, "high": 4}
    space = space_of({"finetune.mixture": dimension})
    assert space.own() == {"finetune.mixture.qa": 1.0}
    assert space.drawn(Fixed(space.own())) == {"finetune.mixture": None}
    drawn = space.drawn(Fixed({"finetune.mixture.qa": 3.0}))
    found = recipe(space.config, drawn).finetune.mixture
    assert found is not None and found.weights == {"nli": 1.0, "qa": 3.0}
    again = job(space={"finetune.mixture": dimension})
    written = again.finetune.model_copy(
        update={"mixture": MixtureConfig(weights={"nli": 2.0, "qa": 1.0})}
    )
    own = Space(again.model_copy(update={"finetune": written}), again.finetune.objective).own()
    assert own == {"finetune.mixture.qa": 0.5}


def test_the_usual_space_has_what_the_rows_of_stage_1_have(tmp_path: Path) -> None:
    rows = [
        {
            "task": task,
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "word " * (n + 1)},
            ],
        }
        for task in ("nli", "qa")
        for n in range(20)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = known_of(path)
    config = job(space={})
    space = usual(config, known)
    assert space["curate.length.max_words"] == (None, 15, 18)
    assert space["finetune.mixture"].groups == ("nli", "qa")
    assert Space(config, config.finetune.objective, known).own()["finetune.mixture.qa"] == 1.0
    path.write_text("".join(json.dumps(row | {"task": "qa"}) + "\n" for row in rows[:1]))
    assert usual(config, known_of(path)).keys() == usual(config).keys()
