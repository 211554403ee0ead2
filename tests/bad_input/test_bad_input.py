"""Whatever is wrong with what the user gives: one line with the place, its exit code, no call."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.cli import main
from mwalimu.config import load_config
from mwalimu.errors import MwalimuError
from tests.bad_input.cases import ROWS, config_cases, written
from tests.figures import record

GOOD = b'{"prompt": "a"}\n'


def told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str]:
    """The exit code and what stands on stderr, of the command line in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["mwalimu", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return int(code or 0) if not isinstance(code, str) else 1, capsys.readouterr().err


def complaint(folder: Path, code: int, expected: int, said: str, place: str) -> str:
    """What is wrong with an error; empty if nothing."""
    lines = said.strip().splitlines()
    if code != expected:
        return f"exit code {code}: {said[-300:]}"
    errors = [line for line in lines if line.startswith("error: ")]
    if "Traceback" in said or len(errors) != 1:
        return f"no error of one line: {said[-300:]}"
    if place not in said:
        return f"does not name {place}: {said[-300:]}"
    if (folder / ".mwalimu").exists() or list(folder.rglob("run.json")):
        return "something was begun"
    return ""


def test_every_key_of_the_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the loader tells it; every fortieth as the command line does."""
    (tmp_path / "prompts.jsonl").write_bytes(GOOD)
    wrong, cases = {}, list(config_cases())
    for number, (key, value, place) in enumerate(cases):
        path = tmp_path / "distill.yaml"
        path.write_text(written(key, value))
        if number % 40:
            code, said = loaded(path)
        else:
            code, said = told(tmp_path, capsys, monkeypatch, "generate", "distill.yaml")
        if found := complaint(tmp_path, code, 2, said, place.rpartition(".")[2]):
            wrong[f"{key}={value!r:.40}"] = found
    assert not wrong
    assert len(cases) >= 300
    record("R8", "keys of the config", tried=len(cases))


def loaded(path: Path) -> tuple[int, str]:
    try:
        load_config(path)
    except MwalimuError as error:
        return error.exit_code, f"error: {error}"
    return 0, ""


def test_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {}
    (tmp_path / "distill.yaml").write_text(written("seed", 0))
    for name, data in ROWS.items():
        (tmp_path / "prompts.jsonl").write_bytes(data)
        code, said = told(tmp_path, capsys, monkeypatch, "generate", "distill.yaml")
        place = "prompts.jsonl" if not data.strip() else "prompts.jsonl:"
        if found := complaint(tmp_path, code, 3, said, place):
            wrong[name] = found
    assert not wrong
    record("R8", "rows", tried=len(ROWS))


OVERRIDES = {
    "no value": "seed",
    "no key": "=3",
    "an unknown key": "finetune.epoch=3",
    "an unknown section": "fine.epochs=3",
    "a key below a number": "seed.more=3",
    "no YAML": "seed=[1",
    "another kind": "finetune.epochs=many",
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    (tmp_path / "distill.yaml").write_text(written("seed", 0))
    (tmp_path / "prompts.jsonl").write_bytes(GOOD)
    words = ("generate", "distill.yaml", "--set", OVERRIDES[name])
    code, said = told(tmp_path, capsys, monkeypatch, *words)
    assert not complaint(tmp_path, code, 2, said, OVERRIDES[name].split("=")[0].split(".")[0])
    record("R8", "overrides", tried=1)
