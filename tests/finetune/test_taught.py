"""Whole trainings by a teacher: what learns beside the student, and what an interruption costs."""

import json
import os
import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mwalimu.finetune.teacher.white_box import WhiteBox
from tests.command import processes
from tests.finetune import worker
from tests.finetune.jobs import metrics, steps_of, sums, train, untimed, weights
from tests.finetune.taught import Pair, captured, config_of, make_pair
from tests.finetune.test_resume import interrupt_at, reached, wait_for
from tests.finetune.test_trainer import nats_and_tokens

TRAIN, VALIDATION = sums(64), sums(16, seed=1)
HIDDEN = {"kind": "hidden", "weight": 0.5, "pairs": 1}
RAMP = {"start": 0.2, "end": 2.0, "shape": "cosine"}
BY_ROW = {"start": 0.5, "end": 2.0, "shape": "per_sample"}
OBJECTIVES: dict[str, Any] = {
    "draws": "forward_kl",
    "draws, states and schedules": [
        {"kind": "forward_kl", "weight": BY_ROW},
        {"kind": "cross_entropy", "weight": RAMP},
        HIDDEN | {"weight": {"start": 1.0, "end": 0.0}},
    ],
    "live": [{"kind": "jsd", "temperature": {"start": 1.0, "end": 3.0}}, "attention"],
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


def job_of(folder: Path, pair: Pair, objective: Any, **finetune: Any) -> dict[str, Any]:
    """For `train`: the rows, the objective as it was chosen, and what the teacher said."""
    config = config_of(pair, objective, finetune=finetune)
    run = captured(folder, config, TRAIN, VALIDATION)
    parts = [part.model_dump() for part in config.finetune.objective]
    return {
        "rows": TRAIN,
        "validation": VALIDATION,
        "objective": parts,
        "white_box": WhiteBox.of(config, run),
    }


@pytest.mark.parametrize("name", OBJECTIVES)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    tmp_path: Path, pair: Pair, name: str
) -> None:
    job = job_of(tmp_path / "run", pair, OBJECTIVES[name]) | {"save_every": 3}
    train(pair.student, tmp_path / "whole", **job)
    rng, folder, context = random.Random(name), tmp_path / "killed", processes()
    kills = 0
    while True:
        process = context.Process(target=worker.run_job, args=(pair.student, folder, job))
        process.start()
        goal = 4 * kills + rng.randrange(1, 5)
        if kills < 4 and wait_for(partial(reached, folder, goal), process):
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert weights(folder) == weights(tmp_path / "whole")
    assert steps_of(folder) == list(range(1, 17))
    assert untimed(folder) == untimed(tmp_path / "whole")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_projections_learn_and_are_kept_but_never_published(
    tmp_path: Path, pair: Pair, method: str
) -> None:
    job = job_of(tmp_path / "run", pair, [HIDDEN, "forward_kl"]) | {"method": method}
    train(pair.student, tmp_path / "whole", **job)
    with pytest.raises(KeyboardInterrupt):
        train(pair.student, tmp_path / "job", **job, on_progress=interrupt_at(6), save_every=3)
    found = []
    for step in (3, 6):
        folder = tmp_path / "job" / "checkpoints" / f"step-{step}"
        saved = load_file(folder / "model.safetensors")
        (name,) = (name for name in saved if name.startswith("losses."))
        found.append(saved[name])
        moments = load_file(folder / "optimiser.safetensors")
        assert float(moments[f"{name}.step"]) == step and moments[f"{name}.exp_avg"].any()
    assert found[0].shape == (48, 32) and not torch.equal(*found)
    summary = train(pair.student, tmp_path / "job", **job)
    assert weights(tmp_path / "job") == weights(tmp_path / "whole")
    published = load_file(tmp_path / "job" / "student" / "model.safetensors")
    plain = load_file(pair.student / "model.safetensors")
    assert {n: t.shape for n, t in published.items()} == {n: t.shape for n, t in plain.items()}
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "job" / "student")
    assert summary["parameters"] == student.num_parameters()


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path, pair: Pair) -> None:
    job = job_of(tmp_path / "run", pair, ["forward_kl", HIDDEN], teacher="live")
    train(pair.student, tmp_path / "job", **job, learning_rate=0.01, epochs=6, patience=6)
    lines = metrics(tmp_path / "job")
    losses = [line["validation_loss"] for line in lines if "best" in line]
    assert losses[-1] < 0.9 * losses[0]
    parts = [line["parts"] for line in lines if "loss" in line]
    assert all(set(part) == {"forward_kl", "hidden"} for part in parts)
    assert parts[-1]["hidden"] < parts[0]["hidden"]


def test_validation_is_of_the_objective_at_its_end(tmp_path: Path, pair: Pair) -> None:
    """Not of a moment in between: losses of two epochs have to be comparable."""
    frozen = {"learning_rate": 1e-30, "weight_decay": 0.0, "warmup_ratio": 0.0}
    found = {}
    for name, weight in {"ramp": {"start": 0.0, "end": 2.0}, "twice": 2.0, "once": 1.0}.items():
        job = job_of(tmp_path / name / "run", pair, {"kind": "forward_kl", "weight": weight})
        train(pair.student, tmp_path / name / "job", **job, **frozen)
        lines = metrics(tmp_path / name / "job")
        found[name] = [line["validation_loss"] for line in lines if "best" in line]
    assert found["ramp"] == pytest.approx(found["twice"], rel=1e-6)
    assert found["twice"] == pytest.approx([2 * loss for loss in found["once"]], rel=1e-6)


def test_other_signals_are_another_job(tmp_path: Path, pair: Pair) -> None:
    """The stage's fingerprint covers them, so that a checkpoint of the one is none of the other."""
    job = job_of(tmp_path / "run", pair, "forward_kl")
    with pytest.raises(KeyboardInterrupt):
        train(pair.student, tmp_path / "job", **job, on_progress=interrupt_at(6))
    notes: list[str] = []
    train(
        pair.student,
        tmp_path / "job",
        **job,
        stage="other signals",
        on_progress=lambda *call: notes.append(call[-1]),
    )
    assert any("is of another job" in note for note in notes)
    trained = json.loads((tmp_path / "job" / "trained.json").read_bytes())
    assert trained["summary"]["steps"] == 16


def test_what_answers_cost_is_told_whatever_the_objective(tmp_path: Path, pair: Pair) -> None:
    warm = {"kind": "cross_entropy", "temperature": 2.0}
    costs = set()
    for objective in ("cross_entropy", "reverse_kl", warm):
        folder = tmp_path / str(len(costs))
        job = job_of(folder / "run", pair, objective)
        train(pair.student, folder / "job", **job, learning_rate=0.01, epochs=1)
        told = [line for line in metrics(folder / "job") if "best" in line][-1]
        nats, _ = nats_and_tokens(folder / "job" / "student", VALIDATION)
        assert told["answer_nats"] == pytest.approx(nats / len(VALIDATION), rel=1e-4)
        costs.add(told["answer_nats"])
    assert len(costs) == 3
