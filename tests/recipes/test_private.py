"""The triage recipe keeps its notes: a local teacher, no address called, no note in a log."""

import importlib.util
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from recipes.make_data import RECIPES, load_world

from mwalimu import api
from mwalimu.config import FinetuneConfig, StudentConfig, load_config
from mwalimu.data.privacy import find
from mwalimu.errors import DataError
from mwalimu.finetune.finetune import train_student
from mwalimu.pipeline import Pipeline
from mwalimu.progress import silent
from mwalimu.telemetry import setting_up
from tests.recipes.folders import copied, data_files, shrunk
from tests.tiny import make_tiny_model

FOLDER = RECIPES / "medical-triage"
CONFIG = FOLDER / "distill.yaml"
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def _private() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipes_private", FOLDER / "private.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


private = _private()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def leaks(*overrides: str, **environment: str) -> list[str]:
    return list(private.leaks(load_config(CONFIG, overrides), OFFLINE | environment))


def test_the_recipe_itself_is_private() -> None:
    assert leaks() == []


SERVER = "{model: m, base_url: 'http://127.0.0.1:1/v1'}"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        (f"teacher={SERVER}", "teacher: "),
        ("teacher={model: gpt-4.1}", "teacher: "),
        (f"judge={SERVER}", "judge: "),
        (f"curate.judge.teacher={SERVER}", "curate.judge.teacher: "),
        (f"ensemble={{strategy: vote, others: [{SERVER}]}}", "ensemble.others.0: "),
        (
            "ensemble={strategy: judge, others: [{model: fake}], judge: {model: claude-sonnet-5}}",
            "ensemble.judge: ",
        ),
        ("finetune.track=[wandb]", "finetune.track: wandb"),
        ("evaluate.load={url: 'http://127.0.0.1:1/v1'}", "evaluate.load.url: "),
        ("data.privacy=mask", "data.privacy: "),
    ],
)
def test_whatever_could_leave_is_named(override: str, named: str) -> None:
    (line,) = leaks(override)
    assert line.startswith(named)


def test_so_is_what_the_environment_would_send() -> None:
    assert leaks("finetune.track=[tensorboard]") == []
    assert "MWALIMU_LOG_TEXT" in leaks(MWALIMU_LOG_TEXT="1")[0]
    assert "HF_HUB_OFFLINE" in leaks(HF_HUB_OFFLINE="0")[0]


def test_the_command_says_so_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MWALIMU_LOG_TEXT", raising=False)
    command = ["private.py", "check", str(CONFIG)]
    monkeypatch.setattr("sys.argv", command)
    assert private.main() == 0
    monkeypatch.setattr("sys.argv", [*command, "--set", "teacher={model: gpt-4.1}"])
    assert private.main() == 2
    assert capsys.readouterr().err.startswith("error: teacher: gpt-4.1 is a server")
    monkeypatch.setattr("sys.argv", ["private.py", "check", "nowhere.yaml"])
    assert private.main() == 2


def test_masked_rows_hold_no_contact_data(tmp_path: Path) -> None:
    out = tmp_path / "masked.jsonl"
    said = private.mask_file(FOLDER / "raw_example.jsonl", out)
    assert said.endswith("8 rows, contact data taken out of 8")
    assert not find(out.read_text(encoding="utf-8"))
    before, after = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (FOLDER / "raw_example.jsonl", out)
    )
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert all("[PHONE_1]" in row["prompt"] or "[EMAIL_1]" in row["prompt"] for row in after)


def test_a_chat_is_masked_turn_by_turn_and_a_bad_row_writes_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "chat.jsonl", tmp_path / "out.jsonl"
    turn = {"role": "user", "content": "I am at asha@example.org."}
    path.write_text(json.dumps({"messages": [turn], "metadata": {"by": "a@example.org"}}))
    private.mask_file(path, out)
    row = json.loads(out.read_text())
    assert row["messages"][0]["content"] == "I am at [EMAIL_1]."
    assert row["metadata"] == {"by": "a@example.org"}  # no text that anybody learns
    path.write_text('{"prompt": "a"}\n{"prompt"\n')
    with pytest.raises(DataError, match="line"):
        private.mask_file(path, tmp_path / "never.jsonl")
    assert not (tmp_path / "never.jsonl").exists()


def test_a_served_teacher_is_sent_nothing_personal(tmp_path: Path) -> None:
    """`data.privacy: refuse`, should somebody name one: the job ends before it asks."""
    job = copied("medical-triage", tmp_path)
    (job / "prompts.jsonl").write_bytes((FOLDER / "raw_example.jsonl").read_bytes())
    config = load_config(job / "distill.yaml", [f"teacher={SERVER}"])
    pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "answers")
    with pytest.raises(DataError, match="rows with personal data or keys: 8"):
        pipeline.generate()


def taught_teacher(folder: Path) -> Path:
    """A tiny local model that has learned to say "urgent", whatever it is asked."""
    world = load_world(FOLDER)
    turns = [("system", world.SYSTEM), ("user", "A note."), ("assistant", "urgent")]
    row = {"id": "a", "messages": [{"role": role, "content": text} for role, text in turns]}
    train_student(
        StudentConfig(model=str(make_tiny_model(folder / "bare")), method="full"),
        FinetuneConfig(learning_rate=1e-2, batch_size=4, epochs=40, patience=40),
        [row | {"id": str(n)} for n in range(4)],
        None,
        folder / "taught",
        seed=0,
        stage_fingerprint="urgent",
        on_progress=silent,
    )
    return folder / "taught" / "student"


def test_a_run_calls_no_address_and_logs_no_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = copied("medical-triage", tmp_path)
    shrunk(job)
    student = make_tiny_model(tmp_path / "student")
    config = load_config(
        job / "distill.yaml",
        [
            f"teacher.model={taught_teacher(tmp_path / 'teacher')}",
            f"student.model={student}",
            "student.max_length=512",
            "finetune.batch_size=100",
            "finetune.accumulation=1",
            "finetune.epochs=2",
            "curate.checks=[label]",
            "evaluate.max_tokens=8",
            "evaluate.arms=[teacher, distilled]",
        ],
    )
    assert list(private.leaks(config, OFFLINE)) == []

    def refused(*_: Any) -> None:
        raise AssertionError("somebody calls an address")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setenv("MWALIMU_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("MWALIMU_LOG_TEXT", raising=False)
    setting_up.begin()
    try:
        scores = api.run(config, tmp_path / "run", store=tmp_path / "answers")
    finally:
        setting_up.end()
    assert [arm["name"] for arm in scores["arms"]] == ["teacher", "student-distilled"]
    kept = (tmp_path / "run" / "generate" / "train.jsonl").read_text(encoding="utf-8")
    assert kept.count('"urgent"') == 4
    log = (tmp_path / "log").read_text(encoding="utf-8")
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert len(set(events)) >= 4  # the log did run
    for path in data_files(job).values():
        for line in path.read_text(encoding="utf-8").splitlines():
            note = json.loads(line)["prompt"]
            assert note in kept or path.name != "prompts.jsonl"
            assert not any(piece in log for piece in note.split(". ") if len(piece) > 12)
