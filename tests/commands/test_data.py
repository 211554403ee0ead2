"""`mwalimu data` from the outside."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.cli import app, main


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(lambda: app([str(word) for word in words]))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.jsonl", {"instruction": "Say it.", "output": "it"}, {"output": "x"})
    code, out, _ = run(capsys, "data", "inspect", path)
    assert code == 0 and "alpaca" in out and f"{path}:2: instruction:" in out
    code, out, _ = run(capsys, "data", "inspect", path, "--json", "--task", "qa")
    found = json.loads(out)
    assert (found["rows"], found["tasks"], found["labels"]) == (1, {"qa": 1}, {"it": 1})


def test_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}
    path = write(tmp_path / "a.jsonl", *[good] * 65)
    words = ("data", "validate", path, "--format", "azure", "--task", "nli")
    code, out, _ = run(capsys, *words)
    assert (code, out) == (0, f"{path}: 65 rows, no problem\n")
    write(path, good, {"messages": good["messages"][1:]}, {"messages": []})
    code, out, err = run(capsys, *words)
    assert code == 3 and err == f"error: {path}: 3 problems in 3 rows\n"
    assert out.splitlines() == [
        f"{path}:2: messages[0].role: is 'user', Azure wants 'system' first; "
        "put a system turn in front",
        f"{path}:3: messages: must be a list with at least one message; "
        'write {"messages": [...]}',
        f"{path}: has 3 rows, Azure wants 65 at least; add rows",
    ]


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.jsonl", {"id": "1", "prompt": "p q", "completion": "c"})
    code, out, _ = run(capsys, "data", "convert", path, tmp_path / "c.jsonl", "--to", "openai")
    assert "1 problems by the rules of openai: mwalimu data validate" in out  # ten rows at least
    out_path = tmp_path / "b.jsonl"
    code, out, _ = run(capsys, "data", "convert", path, out_path, "--to", "bedrock")
    assert code == 0
    assert out == f"{out_path}: 1 rows written as bedrock; which cannot hold id (1 rows)\n"
    assert json.loads(out_path.read_text())["messages"][0] == {
        "role": "user",
        "content": [{"text": "p q"}],
    }
    code, _, err = run(capsys, "data", "convert", path, out_path, "--to", "word")
    assert code == 2 and "'word' is no format; one of" in err
    code, _, err = run(capsys, "data", "convert", tmp_path / "no", out_path, "--to", "azure")
    assert code == 3 and "no such file" in err


def test_import_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "distill.yaml"
    config.write_text(
        "task: generic\ndata: {train: p.jsonl}\nstudent: {model: none}\n"
        "teacher: {model: m, base_url: 'http://localhost:1', temperature: 1}\n"
    )
    turns = [{"role": "user", "content": "p"}]
    message = {"role": "assistant", "content": "c"}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    good = {"request": {"model": "m", "messages": turns}, "response": answer}
    bad = {"request": {"model": "m", "messages": []}, "response": answer}
    path = write(tmp_path / "log.jsonl", good, bad)
    code, out, err = run(capsys, "data", "import-answers", path, "--config", config)
    assert code == 0
    assert out == "2 rows: 1 answers kept, 0 known before\n1 left out: cannot be read\n"
    assert err.startswith(f"{path}:2: messages: must be a list")
    assert (tmp_path / ".mwalimu" / "answers").is_dir()
