"""The command line as a user meets it: a process, its exit code, one line on stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def mwalimu(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from mwalimu.cli import main; main()", *arguments],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


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
    result = mwalimu("generate", "distill.yaml", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert expected in one_line(result, code)


def test_a_missing_config_and_a_broken_student(tmp_path: Path) -> None:
    missing = one_line(mwalimu("run", "none.yaml", cwd=tmp_path), 2)
    assert "mwalimu init" in missing and missing.count("\n") == 1
    (tmp_path / "student").mkdir()
    write_job(tmp_path, [{"prompt": str(i)} for i in range(4)])
    assert mwalimu("generate", "distill.yaml", cwd=tmp_path).returncode == 0
    broken = one_line(mwalimu("finetune", "distill.yaml", cwd=tmp_path), 5)
    assert "student" in broken


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = mwalimu("--debug", "run", "none.yaml", cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" in result.stderr


def test_finetune_before_generate_says_what_to_run(tmp_path: Path) -> None:
    write_job(tmp_path, [{"prompt": "a"}])
    assert "mwalimu generate" in one_line(mwalimu("finetune", "distill.yaml", cwd=tmp_path), 8)
