"""The whole job as a user runs it: killed and resumed, over HTTP, without a test file."""

import json
import os
import random
import signal
import time
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from mwalimu.files import sha256_file
from mwalimu.quickstart.job import write_job
from mwalimu.quickstart.rows import generate_rows
from tests import command
from tests.command import Command
from tests.model_server import ModelServer

DONE = ("generate", "curate", "signals", "finetune", "evaluate", "report")
KILLS = 10 if os.environ.get("MWALIMU_LONG") else 4
ROWS = {"train": 64, "validation": 12, "test": 6, "labelled": 12}
SHORT = (
    "finetune.epochs=2",
    "finetune.save_every=2",
    "finetune.objective=auto",
    "evaluate.labelled_epochs=2",
    "evaluate.max_tokens=16",
)
SAME = (
    "generate/train.jsonl",
    "generate/validation.jsonl",
    "curate/train.jsonl",
    "finetune/student/model.safetensors",
)


def start(folder: Path, verb: str = "run") -> Command:
    sets = [word for override in SHORT for word in ("--set", override)]
    return command.start(verb, "distill.yaml", "--run", "run", *sets, cwd=folder)


def finish(process: Command) -> CompletedProcess[str]:
    done = process.finished()
    assert done.returncode == 0, done.stderr
    return done


def hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_file(folder / "run" / name) for name in SAME}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted run of the smaller quickstart job, and its seconds."""
    folder = tmp_path_factory.mktemp("whole")
    write_job(folder, rows=ROWS)
    command.mwalimu("--help", cwd=folder)  # the process that others are forked from is ready then
    started = time.monotonic()
    finish(start(folder))
    return folder, time.monotonic() - started


@pytest.mark.slow
def test_kill_9_at_random_moments_ends_with_the_same_data_and_student(
    whole: tuple[Path, float], tmp_path: Path
) -> None:
    """What a life leaves is gone on with; where one gets to the end, a new job begins."""
    reference, seconds = whole
    rng, kills = random.Random(11), 0
    jobs = count()
    while kills < KILLS:
        folder = tmp_path / str(next(jobs))
        folder.mkdir()
        write_job(folder, rows=ROWS)
        life = start(folder)
        while kills < KILLS and life.lasts(rng.uniform(0.1, 0.9) * seconds):
            life.kill()
            if (code := life.finished().returncode) == 0:  # it was quicker
                break
            assert code == -signal.SIGKILL
            kills += 1
            life = start(folder)
        else:
            finish(life)
        assert hashes(folder) == hashes(reference)
    manifest = json.loads((folder / "run" / "run.json").read_bytes())
    assert set(manifest["stages"]) == set(DONE)


def test_a_second_run_does_nothing_again(whole: tuple[Path, float]) -> None:
    folder, _ = whole
    before = hashes(folder)
    said = finish(start(folder)).stderr
    for stage in DONE[:-1]:
        assert f"{stage}: 1/1 already done" in said
    assert hashes(folder) == before


def test_the_student_learns_the_distribution_and_the_baseline_its_labels(
    whole: tuple[Path, float],
) -> None:
    folder = whole[0] / "run"

    def parts(path: Path) -> set[str]:
        lines = map(json.loads, path.read_bytes().splitlines())
        return {name for line in lines for name in line.get("parts", {})}

    assert parts(folder / "finetune" / "metrics.jsonl") == {"forward_kl", "cross_entropy"}
    labels = folder / "evaluate" / "arms" / "student-labels"
    assert parts(labels / "metrics.jsonl") == {"cross_entropy"}


def test_ids_and_order_survive_to_the_predictions(whole: tuple[Path, float]) -> None:
    folder, _ = whole

    def ids(path: Path) -> list[str]:
        return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]

    asked = ids(folder / "data" / "train.jsonl")
    accepted = ids(folder / "run" / "generate" / "train.jsonl")
    rejected = set(ids(folder / "run" / "generate" / "rejects.jsonl"))
    assert accepted == [row for row in asked if row not in rejected]
    for arm in ("teacher", "student-before", "student-labels", "student-distilled"):
        predicted = ids(folder / "run" / "evaluate" / "predictions" / f"{arm}.jsonl")
        assert predicted == ids(folder / "data" / "test.jsonl")


def test_the_same_job_over_http_gets_the_same_answers(
    whole: tuple[Path, float], tmp_path: Path
) -> None:
    """A real server that speaks the OpenAI protocol in front of the shipped teacher."""
    reference, _ = whole
    config = yaml.safe_load(write_job(tmp_path, rows=ROWS).read_text(encoding="utf-8"))
    with ModelServer(Path(config["teacher"]["model"]), key="secret-1") as server:
        config["teacher"] |= {"model": "teacher", "base_url": server.url, "concurrency": 8}
        config["teacher"]["api_key_env"] = "QUICKSTART_KEY"
        (tmp_path / "distill.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        environment = {"QUICKSTART_KEY": "secret-1"}
        os.environ |= environment
        try:
            finish(start(tmp_path, verb="generate"))
        finally:
            del os.environ["QUICKSTART_KEY"]
        asked = server.requests
    assert asked >= ROWS["train"]
    served, local = texts(tmp_path), texts(reference)
    # A batch of one and a batch of many may differ in the last bit of a logit.
    same = sum(served.get(row) == text for row, text in local.items())
    assert same >= 0.99 * max(len(local), len(served))
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"secret-1" in p.read_bytes()]


def texts(folder: Path) -> dict[str, str]:
    path = folder / "run" / "generate" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {row["id"]: row["messages"][-1]["content"] for row in rows}


def test_a_job_without_a_test_file_ends_well_and_says_so(tmp_path: Path) -> None:
    config = yaml.safe_load(write_job(tmp_path, rows=ROWS).read_text(encoding="utf-8"))
    config["data"] = {"train": "few.jsonl"}
    rows: list[dict[str, Any]] = generate_rows("train", 20)
    prompts = [json.dumps(row | {"messages": row["messages"][:-1]}) for row in rows]
    (tmp_path / "few.jsonl").write_text("\n".join(prompts), encoding="utf-8")
    (tmp_path / "distill.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert "not evaluated" in finish(start(tmp_path)).stdout
    assert "No test file was given" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
