"""Real distillations and evaluations of tiny models, by real workers."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import Job, Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.workers.evaluation import METRICS, checked_metrics
from mwalimu.run import sha256_path
from tests.jobs.lives import begin
from tests.jobs.place import NAMES, Place
from tests.jobs.waiting import wait_for
from tests.tiny import make_tiny_model

LONG = bool(os.environ.get("MWALIMU_LONG"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny", layers=1)


@pytest.fixture
def place(tmp_path: Path, student: Path) -> Place:
    return Place(tmp_path, student)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, student: Path) -> tuple[Place, Job]:
    place = Place(tmp_path_factory.mktemp("workspace"), student)
    return place, place.ended(place.submit().name)


def test_a_distillation_is_done_told_and_registered(done: tuple[Place, Job]) -> None:
    place, job = done
    assert job.state is State.COMPLETED, (job.error, place.log(job.name))
    assert set(job.summary["arms"]) == {"student-before", "student-distilled"}
    assert job.spent_usd == 0
    events = place.store.events(job=job.name)
    stages = {event.data["stage"] for event in events if event.kind == "progress"}
    assert {"generate", "finetune", "evaluate student-distilled"} <= stages
    spent = [event.data for event in events if event.kind == "spent"][-1]
    ledger = json.loads((place.workspace.run(job.name) / "generate" / "ledger.json").read_text())
    assert spent["requests"] == ledger["spent"]["requests"] == 12
    assert spent["tokens"] == ledger["spent"]["completion_tokens"]
    distilled, baseline = (place.models.get(name) for name in NAMES)
    run = place.workspace.run(job.name)
    assert sha256_path(place.workspace.root / distilled.folder) == sha256_path(
        run / "finetune" / "student"
    )
    assert (distilled.version, baseline.job, distilled.properties["task"]) == (1, job.name, "qa")


def test_what_is_registered_outlives_the_job(done: tuple[Place, Job], tmp_path: Path) -> None:
    place, _ = done
    gone = place.ended(place.submit().name)
    models = place.models.all(job=gone.name)
    assert [(model.name, model.version) for model in models] == [
        ("tiny-baseline", 2),
        ("tiny-distilled", 2),
    ]
    place.store.delete(gone.name)
    place.workspace.remove_job(gone.name)
    assert not place.workspace.job(gone.name).exists()
    for model in models:
        folder = place.workspace.root / model.folder
        assert (folder / "model.safetensors").stat().st_size > 0


def test_an_answer_is_bought_once_for_all_jobs(done: tuple[Place, Job]) -> None:
    place, _ = done
    again = place.ended(place.submit(finetune={"epochs": 1, "batch_size": 4}).name)
    spent = [e.data for e in place.store.events(job=again.name) if e.kind == "spent"]
    assert spent[-1] == {"usd": 0.0, "requests": 0, "tokens": 0}


def test_a_student_that_misses_its_gate_is_not_registered(place: Place) -> None:
    gate = {"arms": ["distilled"], "max_tokens": 6, "bootstrap": 100, "require": {"accuracy": 1}}
    job = place.ended(place.submit(evaluate=gate).name)
    assert job.state is State.FAILED
    assert job.error is not None
    assert job.error["exit_code"] == 12
    assert job.summary["arms"]["student-distilled"]["accuracy"]["mean"] == 0
    assert place.models.all() == []


def test_an_error_is_the_line_that_the_command_line_has(place: Place) -> None:
    path = place.workspace.datasets / "train.jsonl"
    path.write_text('{"id": 1, "messages": "no"}\n')
    job = place.ended(place.submit().name)
    assert job.state is State.FAILED
    assert job.error is not None
    assert job.error["exit_code"] == 3
    assert job.error["where"] == "datasets/train.jsonl"
    assert "datasets/train.jsonl:1" in job.error["what"]
    assert str(place.workspace.root) not in json.dumps(job.error)
    assert place.log(job.name).endswith("\n")
    assert "Traceback" not in place.log(job.name)


def test_a_cancelled_training_keeps_its_checkpoint_and_goes_on(place: Place) -> None:
    long = {"epochs": 400, "batch_size": 4, "save_every": 1000}
    job = place.submit(finetune=long)
    worker = place.work()
    wait_for(lambda: "finetune" in told(place, job.name), 60)
    place.store.cancel(job.name)
    worker.join(20)
    assert place.store.get(job.name).state is State.CANCELED, place.log(job.name)
    steps = [
        p.name for p in (place.workspace.run(job.name) / "finetune").glob("checkpoints/step-*")
    ]
    assert steps
    place.store.resume(job.name)
    worker = place.work()
    wait_for(lambda: "goes on from step" in place.log(job.name), 60)
    place.store.cancel(job.name)
    worker.join(20)


def told(place: Place, name: str) -> set[str]:
    """Stages under way."""
    return {e.data["stage"] for e in place.store.events(job=name) if e.kind == "progress"}


def test_killed_at_random_moments_it_ends_with_the_same_student(
    done: tuple[Place, Job], place: Place
) -> None:
    chance, kills, lives = random.Random(5), 0, 0
    wanted = 40 if LONG else 3
    while kills < wanted:
        job = place.submit()
        while place.store.get(job.name).state is not State.COMPLETED:
            lease = place.store.claim("cpu-0", "cpu")
            assert lease is not None
            worker = begin(place.workspace, lease)
            lives += 1
            worker.join(chance.uniform(0.1, 3) if kills < wanted else 60)
            if worker.is_alive():
                assert worker.pid
                with suppress(ProcessLookupError):  # it leads no group before it has begun
                    os.killpg(worker.pid, signal.SIGKILL)
                worker.kill()
                kills += 1
            worker.join()
            place.store.take_back_of(lease)
        assert student_of(place, job) == student_of(*done)
        assert place.models.get("tiny-distilled").job == job.name
    print(f"{kills} kills in {lives} lives")


def student_of(place: Place, job: Job) -> str:
    return sha256_path(place.workspace.run(job.name) / "finetune" / "student" / "model.safetensors")


def evaluation(place: Place, **config: Any) -> Job:
    asked = {"model": "tiny-distilled", "version": 1, "test": "datasets/test.jsonl"} | config
    return place.store.submit(Spec("evaluation", asked), owner="amina")


def test_an_evaluation_has_the_numbers_of_the_jobs_own(done: tuple[Place, Job]) -> None:
    place, job = done
    found = place.ended(evaluation(place).name)
    assert found.state is State.COMPLETED, (found.error, place.log(found.name))
    assert set(found.summary) == set(METRICS)
    scores = json.loads((place.workspace.run(job.name) / "evaluate" / "scores.json").read_text())
    arm = scores["arms"][-1]
    same = {
        "accuracy": arm["accuracy"]["mean"],
        "accuracy_interval": [arm["accuracy"]["low"], arm["accuracy"]["high"]],
        "f1_score": arm["token_f1"],
        "bleu_score": arm["bleu"],
        "chrf": arm["chrf"],
        "rouge_l": arm["rouge_l"],
        "bits_per_byte": arm["bits_per_byte"],
        "finished": arm["finished"],
        "parameters": arm["parameters"],
        "rows": 12,
    }
    assert {name: found.summary[name] for name in same} == same
    assert found.summary["inference_time"] > 0


def test_only_the_metrics_that_were_asked_for_are_told(done: tuple[Place, Job]) -> None:
    place, _ = done
    asked = ["accuracy", "bleu_score", "inference_time"]
    found = place.ended(evaluation(place, metrics=asked).name)
    assert list(found.summary) == asked


def test_a_model_that_no_row_fits_has_no_numbers(done: tuple[Place, Job]) -> None:
    place, _ = done
    question, answer = (
        {"role": "user", "content": "x" * 900},
        {"role": "assistant", "content": "y"},
    )
    row = {"id": "long", "messages": [question, answer]}
    (place.workspace.datasets / "long.jsonl").write_text(json.dumps(row) + "\n")
    found = place.ended(evaluation(place, test="datasets/long.jsonl").name)
    assert found.state is State.FAILED and found.error is not None and found.summary == {}
    assert "no row leaves room for an answer of 6 tokens" in found.error["what"]
    assert "1 of 1 prompts leave no room" in place.log(found.name)


def test_an_unknown_metric_is_one_error() -> None:
    with pytest.raises(ConfigError, match="'speed' is no metric; use accuracy, "):
        checked_metrics(["accuracy", "speed"])
