"""The small loop: a server's doubted questions are the next round's prompts, already paid for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, build_config
from mwalimu.errors import DataError
from mwalimu.pipeline import Pipeline
from mwalimu.serving.cascade import CascadeOptions, TeacherCascade, open_cascade
from tests import command
from tests.serving.answers import asks, student_says
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student") / "model")


def write(path: Path, *prompts: str) -> None:
    rows = [{"messages": asks(prompt)} for prompt in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def job(folder: Path, student: Path, url: str, **data: Any) -> Config:
    write(folder / "train.jsonl", "one", "two")
    raw = {
        "task": "generic",
        "seed": 5,
        "data": {"train": "train.jsonl"} | data,
        "teacher": {"model": "tiny", "base_url": url, "temperature": 0.3, "max_tokens": 40},
        "student": {"model": str(student)},
    }
    return build_config(raw, base=folder)


def serve(config: Config, traffic: Path, *questions: str, sure: float = 0.1) -> TeacherCascade:
    """A life of a server that is asked these questions."""

    async def life() -> TeacherCascade:
        options = CascadeOptions(below=0.5, traffic=traffic, keep=1.0)
        async with open_cascade(config, options, print) as cascade:
            for question in questions:
                await cascade.second(asks(question), student_says(sure=sure), max_tokens=100)
            return cascade

    return asyncio.run(asyncio.wait_for(life(), 60))


def generated(config: Config, folder: Path, name: str) -> tuple[Pipeline, dict[str, Any]]:
    pipeline = Pipeline(config, folder / name, store=folder / "store")
    pipeline.generate()
    return pipeline, json.loads((folder / name / "generate" / "ledger.json").read_bytes())


def prompts_of(folder: Path) -> list[str]:
    lines = (folder / "generate" / "train.jsonl").read_bytes().splitlines()
    return [json.loads(line)["messages"][0]["content"] for line in lines]


def test_doubted_questions_are_learned_and_nothing_is_bought(tmp_path: Path, student: Path) -> None:
    traffic = tmp_path / "traffic"
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url)
        generated(config, tmp_path, "first")
        assert serve(config, traffic, "three", "four", "three").counts == {"escalated": 3}
        assert sum(server.asked.values()) == 4

        again = job(tmp_path, student, server.url, traffic=str(traffic))
        pipeline, ledger = generated(again, tmp_path, "second")
        assert prompts_of(tmp_path / "second") == ["one", "two", "three", "four"]
        assert ledger["requests_sent"] == 0
        assert ledger["answers_reused"] == 4
        assert ledger["spent"]["requests"] == 0
        assert sum(server.asked.values()) == 4

        # A resume with the same traffic has nothing to do; new traffic makes it ask anew.
        before = pipeline.run.stage("generate")
        generated(again, tmp_path, "second")
        assert (
            Pipeline(again, tmp_path / "second", store=tmp_path / "store").run.stage("generate")
            == before
        )
        serve(config, traffic, "five")
        _, ledger = generated(again, tmp_path, "second")
        assert prompts_of(tmp_path / "second")[-1] == "five"
        assert ledger["requests_sent"] == 0


def test_kept_questions_are_asked_and_repetitions_are_left_out(
    tmp_path: Path, student: Path
) -> None:
    traffic = tmp_path / "traffic"
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url)
        serve(config, traffic, "one", "sure of this", sure=0.9)
        assert not server.asked
        _, ledger = generated(
            job(tmp_path, student, server.url, traffic=str(traffic)), tmp_path, "run"
        )
        assert server.asked == {"one": 1, "two": 1, "sure of this": 1}
        assert ledger["outcomes"] == {"duplicate": 1, "ok": 3}


def test_at_most_max_rows_are_of_the_users_own(tmp_path: Path, student: Path) -> None:
    traffic = tmp_path / "traffic"
    with TeacherServer() as server:
        serve(job(tmp_path, student, server.url), traffic, "three")
        config = job(tmp_path, student, server.url, traffic=str(traffic), max_rows=1)
        generated(config, tmp_path, "run")
        assert prompts_of(tmp_path / "run") == ["one", "three"]


def test_a_question_that_a_test_row_asks_is_refused_or_dropped(
    tmp_path: Path, student: Path
) -> None:
    traffic = tmp_path / "traffic"
    rows = [{"prompt": "Three!", "completion": "3"}]
    (tmp_path / "test.jsonl").write_text(json.dumps(rows[0]) + "\n")
    with TeacherServer() as server:
        serve(job(tmp_path, student, server.url), traffic, "three", "four")
        data = {"traffic": str(traffic), "test": "test.jsonl"}
        asked = sum(server.asked.values())
        with pytest.raises(DataError, match=r"asks what .*test\.jsonl:1 asks"):
            generated(job(tmp_path, student, server.url, **data), tmp_path, "refused")
        assert sum(server.asked.values()) == asked
        config = job(tmp_path, student, server.url, **data, contamination="drop")
        generated(config, tmp_path, "dropped")
        assert prompts_of(tmp_path / "dropped") == ["one", "two", "four"]


def test_personal_data_is_masked_and_still_bought_once(tmp_path: Path, student: Path) -> None:
    traffic, question = tmp_path / "traffic", "Write to asha@example.org."
    with TeacherServer() as server:
        serve(job(tmp_path, student, server.url, privacy="mask"), traffic, question)
        config = job(tmp_path, student, server.url, privacy="mask", traffic=str(traffic))
        _, ledger = generated(config, tmp_path, "run")
        assert ledger["answers_reused"] == 1
        assert prompts_of(tmp_path / "run")[-1] == question
        assert "asha@example.org" not in str(server.asked)
    for path in (traffic / "answers").iterdir():
        assert b"asha@example.org" not in path.read_bytes()


def test_a_folder_without_traffic_is_refused_before_anything_is_paid_for(
    tmp_path: Path, student: Path
) -> None:
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url, traffic="none")
        with pytest.raises(DataError, match="has no traffic"):
            generated(config, tmp_path, "run")
        assert not server.asked


def test_the_option_of_the_command_line(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", "one")
    (tmp_path / "distill.yaml").write_text(
        "task: generic\ndata: {train: train.jsonl}\nteacher: {model: fake}\nstudent: {model: x}\n"
    )
    done = command.mwalimu("run", "distill.yaml", "--from-traffic", "none", cwd=tmp_path)
    assert done.returncode == 3
    assert f"error: {tmp_path}/none: has no traffic; name the folder" in done.stderr
