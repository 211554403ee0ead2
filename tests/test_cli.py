"""The command line as a user meets it: a process, its exit code, one line on stderr."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mwalimu.cli import main
from mwalimu.errors import BUG
from mwalimu.files import exclusive, sha256_file
from tests.command import mwalimu, start
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model


def write_job(folder: Path, rows: list[object] | bytes, **changes: object) -> Path:
    config = {
        "task": "generic",
        "data": {"train": "prompts.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "student"},
    }
    (folder / "distill.yaml").write_text(yaml.safe_dump(config | changes), encoding="utf-8")
    data = rows if isinstance(rows, bytes) else "\n".join(map(json.dumps, rows)).encode()
    (folder / "prompts.jsonl").write_bytes(data)
    return folder / "distill.yaml"


def one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom mwalimu.cli import main\n"
        "sys.argv = ['mwalimu', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'rich', 'numpy', 'aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "quickstart" in result.stdout
    assert result.stderr.strip() == "[]"


def test_init_makes_a_job_whose_first_stage_runs(tmp_path: Path) -> None:
    assert mwalimu("init", "job", cwd=tmp_path).returncode == 0
    result = mwalimu("generate", "job/distill.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = (tmp_path / "runs" / "job" / "generate" / "train.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == [f"example-{i}" for i in range(1, 6)]
    again = one_line(mwalimu("init", "job", cwd=tmp_path), 2)
    assert "a job is here already" in again


def test_generate_twice_skips_and_says_so(tmp_path: Path) -> None:
    write_job(tmp_path, [{"prompt": "a"}, {"prompt": "b"}])
    assert mwalimu("generate", "distill.yaml", "--run", "r", cwd=tmp_path).returncode == 0
    result = mwalimu("generate", "distill.yaml", "--run", "r", cwd=tmp_path)
    assert result.returncode == 0 and "already done" in result.stderr


@pytest.mark.parametrize(
    ("rows", "changes", "code", "expected"),
    [
        ([{"prompt": "a"}], {"finetune": {"epoch": 1}}, 2, "did you mean 'epochs'"),
        (b"", {}, 3, "prompts.jsonl: has no rows"),
        (b'{"prompt": "a"}\n{"prompt"', {}, 3, "prompts.jsonl:2: invalid JSON"),
        ([{"prompt": "a"}], {"data": {"train": "none.jsonl"}}, 3, "no such file"),
        ([{"prompt": " "}], {}, 3, "prompts.jsonl:1: prompt: is empty"),
        ([{"messages": [{"role": "bot", "content": "a"}]}], {}, 3, "messages[0].role: is 'bot'"),
        (
            [{"messages": [{"role": "assistant", "content": "a"}]}],
            {},
            3,
            "'assistant' where 'user' must stand",
        ),
        ([{"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}], {}, 3, "also the id of line 1"),
        (b'{"prompt": "a"}\n{"prompt": "\xff"}', {}, 3, "prompts.jsonl:2: invalid UTF-8"),
        (
            [{"prompt": "a"}],
            {"teacher": {"model": "m", "kind": "local", "base_url": "http://127.0.0.1:9"}},
            2,
            "base_url contradicts kind local",
        ),
        (
            [{"prompt": "a"}],
            {"teacher": {"model": "m", "base_url": "http://127.0.0.1:9/v1", "max_retries": 0}},
            4,
            "127.0.0.1:9",
        ),
        ([{"prompt": "a"}], {"teacher": {"model": "./no/such/folder"}}, 4, "no/such/folder"),
    ],
)
def test_bad_input_is_one_error_with_its_code(
    tmp_path: Path, rows: list[object] | bytes, changes: dict[str, object], code: int, expected: str
) -> None:
    write_job(tmp_path, rows, **changes)
    result = mwalimu("generate", "distill.yaml", cwd=tmp_path)
    assert expected in one_line(result, code)


def test_a_learning_rate_is_suggested_before_the_training(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "student")
    write_job(tmp_path, [{"prompt": f"say {i}"} for i in range(16)])
    assert "mwalimu generate" in one_line(mwalimu("lr", "distill.yaml", cwd=tmp_path), 8)
    assert mwalimu("generate", "distill.yaml", cwd=tmp_path).returncode == 0
    result = mwalimu("lr", "distill.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "set finetune.learning_rate to " in result.stdout
    found = json.loads(Path(tmp_path, result.stdout.split("curve: ")[1].strip()).read_bytes())
    assert f"to {found['suggestion']:.1e}\n" in result.stdout
    assert not list(tmp_path.glob("runs/*/finetune/checkpoints"))


def test_a_missing_config_and_a_broken_student(tmp_path: Path) -> None:
    missing = one_line(mwalimu("run", "none.yaml", cwd=tmp_path), 2)
    assert "mwalimu init" in missing and missing.count("\n") == 1
    (tmp_path / "student").mkdir()
    write_job(tmp_path, [{"prompt": str(i)} for i in range(4)])
    assert mwalimu("generate", "distill.yaml", cwd=tmp_path).returncode == 0
    assert mwalimu("curate", "distill.yaml", cwd=tmp_path).returncode == 0
    broken = one_line(mwalimu("finetune", "distill.yaml", cwd=tmp_path), 5)
    assert "student" in broken


def write_answers(folder: Path, rows: list[tuple[str, str]]) -> None:
    """A run folder whose stage 1 is done, by a teacher that says what the rows say."""
    answered = folder / "runs" / folder.name
    write_job(folder, [{"prompt": prompt} for prompt, _ in rows])
    assert mwalimu("generate", "distill.yaml", cwd=folder).returncode == 0
    manifest = answered / "run.json"
    path = answered / "generate" / "train.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, (_, answer) in zip(lines, rows, strict=True):
        line["messages"][-1]["content"] = answer
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    listed = json.loads(manifest.read_bytes())
    listed["stages"]["generate"]["files"]["generate/train.jsonl"] = sha256_file(path)
    manifest.write_text(json.dumps(listed))
    assert mwalimu("curate", "distill.yaml", cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("prompt", "override", "code", "expected"),
    [
        ("x" * 600, "student.method=full", 6, "leave no room for an answer"),
        ("short", "student.max_length=8", 6, "leave no room for an answer"),
        ("short", "student.max_length=4096", 5, "the model has 512 positions"),
        ("short", "finetune.learning_rate=1e38", 6, "not finite"),
    ],
)
def test_training_that_cannot_go_on_is_one_line_and_publishes_nothing(
    tmp_path: Path, prompt: str, override: str, code: int, expected: str
) -> None:
    make_tiny_model(tmp_path / "student")
    write_answers(tmp_path, [(f"{prompt} {i}", "yes") for i in range(4)])
    sets = ("--set", override, "--set", "finetune.epochs=9")
    line = one_line(mwalimu("finetune", "distill.yaml", *sets, cwd=tmp_path), code)
    assert expected in line
    assert not (tmp_path / "runs" / tmp_path.name / "finetune" / "student").exists()


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [({"model": "tinny"}, "did you mean 'tiny'"), ({"api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY")],
)
def test_a_wrong_model_or_key_is_told_before_the_first_row(
    tmp_path: Path, teacher: dict[str, str], expected: str
) -> None:
    with TeacherServer(key="right") as server:
        settings = {"model": "tiny", "base_url": server.url, "api_key_env": "THE_KEY"} | teacher
        write_job(tmp_path, [{"prompt": "a"}], teacher=settings)
        result = mwalimu("generate", "distill.yaml", cwd=tmp_path, THE_KEY="right")
        assert expected in one_line(result, 4)
        assert not server.asked


@pytest.mark.parametrize("limit_kib", [16, 64, 150])
def test_a_full_disk_has_its_own_code_and_the_next_run_goes_on(
    tmp_path: Path, limit_kib: int
) -> None:
    rows = [{"prompt": f"question {i} {'x' * 300}"} for i in range(300)]
    write_job(tmp_path, rows)
    result = mwalimu("generate", "distill.yaml", cwd=tmp_path, file_size=limit_kib << 10)
    assert "no space left" in one_line(result, 7)
    assert mwalimu("generate", "distill.yaml", cwd=tmp_path).returncode == 0
    answered = tmp_path / "runs" / tmp_path.name / "generate" / "train.jsonl"
    assert len(answered.read_text().splitlines()) == 300


def test_two_at_once_in_a_run_folder_are_told_apart(tmp_path: Path) -> None:
    write_job(tmp_path, [{"prompt": "a"}])
    with exclusive(tmp_path / "r", "run folder"):
        result = mwalimu("generate", "distill.yaml", "--run", "r", cwd=tmp_path)
    assert "another mwalimu works in this run folder" in one_line(result, 8)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    with TeacherServer(latency_s=60) as server:
        write_job(tmp_path, [{"prompt": "a"}], teacher={"model": "tiny", "base_url": server.url})
        life = start("generate", "distill.yaml", cwd=tmp_path)
        while not server.asked:
            assert life.lasts(0.05)
        life.interrupt()
        line = one_line(life.finished(), 130)
    assert line.splitlines()[-1] == "stopped; run the same command again to go on"


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_bug_is_told_without_the_key_in_it(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MWALIMU_DEBUG", debug)
    key = "sk-" + "q7" * 15

    def fails() -> None:
        raise RuntimeError(f"refused {key}")

    with pytest.raises(SystemExit) as exit_:
        main(fails)
    said = capsys.readouterr().err
    assert exit_.value.code == BUG and key not in said
    assert said.count("refused [hidden]") == (2 if debug else 1)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = mwalimu("--debug", "run", "none.yaml", cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" in result.stderr


def test_finetune_before_generate_says_what_to_run(tmp_path: Path) -> None:
    write_job(tmp_path, [{"prompt": "a"}])
    assert "mwalimu generate" in one_line(mwalimu("finetune", "distill.yaml", cwd=tmp_path), 8)
