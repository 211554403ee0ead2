"""Rounds over a real server: nothing is bought twice, and a killed job ends as one that was not."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu.buying import rounds
from mwalimu.buying.rounds import buy
from mwalimu.config import Config, build_config
from mwalimu.errors import BudgetReached, ConfigError, RunError
from mwalimu.files import sha256_file
from mwalimu.pipeline import Pipeline
from mwalimu.run import Run
from tests import command
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model

POOL, VALIDATION = 60, 8


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student") / "model", spread=0.2)


def write(path: Path, prompts: list[str]) -> None:
    rows = [{"id": p, "messages": [{"role": "user", "content": p}]} for p in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def raw_job(folder: Path, student: Path, url: str, **sections: Any) -> dict[str, Any]:
    write(folder / "train.jsonl", [f"prompt {n}" for n in range(POOL)])
    write(folder / "validation.jsonl", [f"other {n}" for n in range(VALIDATION)])
    job: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "teacher": {"model": "tiny", "base_url": url, "max_tokens": 40},
        "student": {"model": str(student), "method": "full", "max_length": 128},
        "finetune": {"epochs": 1, "objective": "cross_entropy"},
        "evaluate": {"max_tokens": 8},
        "active": {"first": 12, "batch": 8, "rounds": 3, "look_at": 30},
    }
    for name, changes in sections.items():
        job[name] = {**job.get(name, {}), **changes}
    return job


def job(folder: Path, student: Path, url: str, **sections: Any) -> Config:
    return build_config(raw_job(folder, student, url, **sections), base=folder)


def pipeline(config: Config, folder: Path) -> Pipeline:
    return Pipeline(config, folder / "run", store=folder / "store")


def learned(folder: Path) -> list[str]:
    lines = (folder / "run" / "generate" / "train.jsonl").read_bytes().splitlines()
    return [json.loads(line)["id"] for line in lines]


def decisions(folder: Path) -> list[dict[str, Any]]:
    return list(Run(folder / "run").manifest["buying"]["decisions"])


def test_rounds_buy_what_is_chosen_once_and_the_run_goes_on(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        bought = buy(pipeline(job(tmp_path, student, server.url), tmp_path))
        assert sum(server.asked.values()) == 12 + 8 + 8 + VALIDATION
        assert set(server.asked.values()) == {1}
        ids = learned(tmp_path)
        assert len(ids) == 28 and ids == sorted(ids, key=lambda name: int(name.split()[1]))
        assert [one["rows"] for one in decisions(tmp_path)] == [12, 20, 28]
        assert decisions(tmp_path)[-1]["why"] == "the end: 3 rounds were asked for"
        bought.execute()  # finetune is done; a report is written, and nobody is asked
        assert sum(server.asked.values()) == 28 + VALIDATION
        report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
        assert "the end: 3 rounds were asked for" in report


def test_a_second_call_does_nothing_and_more_rounds_go_on(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        buy(pipeline(job(tmp_path, student, server.url), tmp_path))
        before = {path: sha256_file(path) for path in (tmp_path / "run" / "buying").rglob("*.json")}
        asked = sum(server.asked.values())
        buy(pipeline(job(tmp_path, student, server.url), tmp_path))
        assert before == {path: sha256_file(path) for path in before}
        assert sum(server.asked.values()) == asked
        buy(pipeline(job(tmp_path, student, server.url, active={"rounds": 4}), tmp_path))
        assert sum(server.asked.values()) == asked + 8
        assert before == {path: sha256_file(path) for path in before}


def test_the_first_round_is_not_the_head_of_the_file(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        buy(pipeline(job(tmp_path, student, server.url, active={"rounds": 1}), tmp_path))
    assert learned(tmp_path) != [f"prompt {n}" for n in range(12)]


def test_what_is_chosen_differs_from_chance(tmp_path: Path, student: Path) -> None:
    chosen = {}
    for by in ("doubt", "random"):
        folder = tmp_path / by
        folder.mkdir()
        with TeacherServer() as server:
            buy(pipeline(job(folder, student, server.url, active={"by": by}), folder))
        chosen[by] = [
            set(json.loads((folder / f"run/buying/chosen/{n}.json").read_bytes())["ids"])
            for n in range(3)
        ]
    assert chosen["doubt"][0] == chosen["random"][0]
    assert chosen["doubt"][1] != chosen["random"][1]


def test_the_budget_ends_it_and_a_larger_one_goes_on(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        capped = job(tmp_path, student, server.url, budget={"requests": 12 + VALIDATION + 5})
        buy(pipeline(capped, tmp_path))
        assert sum(server.asked.values()) == 12 + VALIDATION + 5
        assert len(learned(tmp_path)) == 17
        assert decisions(tmp_path)[-1]["why"] == "the end: the budget is used up"
        buy(pipeline(job(tmp_path, student, server.url), tmp_path))
        assert len(learned(tmp_path)) == 25
        assert set(server.asked.values()) == {1}


def test_a_round_that_is_dearer_than_thought_is_cut(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds.Paid, "affordable", lambda _paid, _budget: 8)
    with TeacherServer() as server:
        capped = job(tmp_path, student, server.url, budget={"requests": 12 + VALIDATION + 5})
        buy(pipeline(capped, tmp_path))
        assert len(learned(tmp_path)) == 12 + 4
        assert decisions(tmp_path)[-1]["why"] == "the end: the budget is used up"
        assert set(server.asked.values()) == {1}


def test_a_budget_below_one_row_is_told(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        capped = job(tmp_path, student, server.url, budget={"tokens": 10})
        with pytest.raises(BudgetReached):
            buy(pipeline(capped, tmp_path))
        assert not server.asked


def test_other_prompts_need_another_run(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        buy(pipeline(job(tmp_path, student, server.url, active={"rounds": 1}), tmp_path))
        other = job(tmp_path, student, server.url, active={"batch": 5})
        with pytest.raises(RunError, match="chosen from other prompts"):
            buy(pipeline(other, tmp_path))


def test_generate_alone_does_not_buy_the_whole_pool(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url)
        with pytest.raises(RunError, match="run 'mwalimu buy' or 'mwalimu run'"):
            pipeline(config, tmp_path).generate()
        assert not server.asked


def test_rounds_need_the_section_and_validation_rows(tmp_path: Path, student: Path) -> None:
    raw = raw_job(tmp_path, student, "http://localhost:1/v1")
    with pytest.raises(ConfigError, match=r"active: needs data\.validation"):
        build_config(raw | {"data": {"train": "train.jsonl"}}, base=tmp_path)
    del raw["active"]
    with pytest.raises(ConfigError, match="active: is not set"):
        buy(pipeline(build_config(raw, base=tmp_path), tmp_path))


@pytest.mark.slow
def test_kill_9_at_random_moments_ends_with_the_same_choices(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        results, dice, kills, seconds = [], random.Random(5), 0, 0.0
        command.mwalimu("--help", cwd=tmp_path)  # what lives are forked from is ready then
        for name in ("whole", "killed"):
            folder = tmp_path / name
            folder.mkdir()
            raw = raw_job(folder, student, server.url)
            (folder / "distill.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
            began = time.monotonic()
            life = command.start("buy", "distill.yaml", "--run", "run", cwd=folder)
            while name == "killed" and kills < 6 and life.lasts(dice.uniform(0.1, 0.6) * seconds):
                life.kill()
                life.finished()
                kills += 1
                life = command.start("buy", "distill.yaml", "--run", "run", cwd=folder)
            done = life.finished()
            assert done.returncode == 0, done.stderr
            seconds = time.monotonic() - began
            files = sorted((folder / "run" / "buying").rglob("*.json*"))
            files += [folder / "run/finetune/student/model.safetensors"]
            results.append(
                {
                    str(p.relative_to(folder)): sha256_file(p)
                    for p in files
                    if "measured" not in str(p)
                }
            )
        assert kills and results[0] == results[1]
        # A request that was under way when its process died may be sent once more.
        assert sum(server.asked.values()) <= 2 * (28 + VALIDATION) + 16 * kills
