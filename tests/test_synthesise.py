"""The stage of prompts as part of a job: what a resume skips, and what stage 1 makes of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu import api
from mwalimu.cli import app, main
from mwalimu.config import Config, build_config, load_config
from mwalimu.errors import BudgetReached, ConfigError, RunError
from mwalimu.pipeline import Pipeline
from tests.synthesis.prompts.writer_server import WriterServer

YAML = """
task: generic
teacher: {model: fake}
student: {model: none}
prompts: {method: evolve, rows: 4, seeds: seeds.jsonl}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    seeds = (
        '{"id": "a", "prompt": "Where is my order?"}',
        '{"id": "b", "prompt": "Who is there?"}',
    )
    (tmp_path / "seeds.jsonl").write_text("\n".join(seeds))
    (tmp_path / "distill.yaml").write_text(YAML)
    return tmp_path


def config_of(folder: Path, *overrides: str) -> Config:
    return load_config(folder / "distill.yaml", overrides)


def stages(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run" / "run.json").read_text())["stages"])


def test_stage_1_answers_what_was_made(folder: Path) -> None:
    store = folder / "answers"
    made = api.synthesise(config_of(folder), folder / "run", store=store)
    assert (made["accepted"], made["stopped"]) == (4, "all rows are there")
    api.generate(config_of(folder), folder / "run", store=store)
    lines = (folder / "run" / "generate" / "train.jsonl").read_text().splitlines()
    answered = [json.loads(line) for line in lines]
    assert [row["id"] for row in answered] == [f"prompt-{i:06d}" for i in range(1, 5)]
    assert [row["metadata"]["synthesis"]["parents"] for row in answered][:2] == [["a"], ["b"]]
    assert set(stages(folder)) == {"prompts", "generate"}


def test_the_last_turn_of_a_conversation_is_bought_once(folder: Path) -> None:
    store = folder / "answers"
    config = config_of(folder, "prompts.method=conversations", "prompts.rows=2")
    api.synthesise(config, folder / "run", store=store)
    ledger = api.generate(config, folder / "run", store=store)
    assert (ledger["requests_sent"], ledger["answers_reused"]) == (0, 2)


def test_one_budget_for_prompts_and_answers(folder: Path) -> None:
    with WriterServer() as server:
        teacher = {"model": "tiny", "base_url": server.url, "concurrency": 1}
        overrides = [f"teacher={json.dumps(teacher)}", "budget.requests=6"]
        config = config_of(folder, *overrides)
        made = api.synthesise(config, folder / "run", store=folder / "answers")
        assert (made["accepted"], len(server.bodies)) == (4, 4)
        with pytest.raises(BudgetReached, match=r"budget\.requests: .* 6 of 6 spent"):
            api.generate(config, folder / "run", store=folder / "answers")
        assert len(server.bodies) == 6
        more = config_of(folder, *overrides, "budget.requests=8")
        api.generate(more, folder / "run", store=folder / "answers")
        assert len(server.bodies) == 8 and max(server.asked.values()) == 1


def test_what_changes_the_prompts_makes_them_again(folder: Path) -> None:
    store = folder / "answers"
    seen: list[str] = []

    def synthesise(*overrides: str) -> bool:
        """Whether it was done again."""
        seen.clear()
        api.synthesise(
            config_of(folder, *overrides),
            folder / "run",
            store=store,
            progress=lambda stage, done, total, note: seen.append(note),
        )
        return "already done" not in seen

    assert synthesise() and not synthesise()
    assert not synthesise("teacher.concurrency=3")
    assert synthesise("prompts.rows=5") and synthesise("prompts.rows=4")
    assert synthesise("seed=7") and not synthesise("seed=7")
    (folder / "seeds.jsonl").write_text('{"id": "c", "prompt": "What is new here?"}')
    assert synthesise("seed=7")
    api.generate(config_of(folder, "seed=7"), folder / "run", store=store)
    assert not synthesise("seed=7") and "generate" in stages(folder)
    with pytest.raises(RunError, match="made with other settings"):
        api.generate(config_of(folder, "prompts.rows=3"), folder / "run", store=store)
    assert synthesise("prompts.rows=3") and "generate" not in stages(folder)


def test_a_run_begins_with_the_prompts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for stage in ("synthesise", "generate", "curate", "signals", "finetune", "report"):
        monkeypatch.setattr(Pipeline, stage, lambda self, stage=stage: done.append(stage))
    Pipeline(config_of(folder), folder / "run", store=folder / "answers").execute()
    assert done == ["synthesise", "generate", "curate", "signals", "finetune", "report"]


def test_stage_1_needs_the_prompts(folder: Path) -> None:
    with pytest.raises(RunError, match=r"stage prompts is not finished here.*mwalimu synthesise"):
        api.generate(config_of(folder), folder / "run", store=folder / "answers")
    with pytest.raises(ConfigError, match="prompts: has to be made first"):
        api.estimate(config_of(folder), store=folder / "answers")
    raw = {"task": "generic", "teacher": {"model": "fake"}, "student": {"model": "none"}}
    plain = build_config(raw | {"data": {"train": "seeds.jsonl"}}, base=folder)
    with pytest.raises(ConfigError, match="prompts: is not set"):
        api.synthesise(plain, folder / "run", store=folder / "answers")


def test_other_files_are_checked_before_anything_is_asked(folder: Path) -> None:
    config = config_of(folder, "data.validation=gone.jsonl")
    with pytest.raises(Exception, match="no such file"):
        api.synthesise(config, folder / "run", store=folder / "answers")
    assert not (folder / "answers").exists()


def test_the_verb(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(lambda: app(["synthesise", "distill.yaml", "--run", "run"]))
    assert ended.value.code == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "wanted: 4",
        "found: 4",
        "accepted: 4",
        "rounds: 2",
        "stopped: all rows are there",
    ]
