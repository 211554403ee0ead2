import hashlib
import json
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.files import atomic_writer
from mwalimu.run import FORMAT_VERSION, Run, fingerprint
from tests.held import traced


def publish(run: Run, stage: str, text: bytes = b"x") -> Path:
    path = run.path(stage, "out.jsonl")
    with atomic_writer(path) as handle:
        handle.write(text)
    run.finish(stage, f"fp-{stage}", [path], {"rows": 1})
    return path


def test_a_finished_stage_is_found_by_a_new_reader(tmp_path: Path) -> None:
    publish(Run(tmp_path), "generate")
    assert Run(tmp_path).is_done("generate", "fp-generate")
    assert not Run(tmp_path).is_done("generate", "other")


def test_a_changed_or_lost_file_is_not_trusted(tmp_path: Path) -> None:
    path = publish(Run(tmp_path), "generate")
    path.write_bytes(b"changed")
    assert Run(tmp_path).stage("generate") is None
    path.unlink()
    with pytest.raises(RunError, match="mwalimu generate"):
        Run(tmp_path).require("generate")


def test_a_stage_run_again_lets_the_later_ones_lapse(tmp_path: Path) -> None:
    run = Run(tmp_path)
    publish(run, "generate")
    publish(run, "finetune")
    publish(run, "generate", b"new")
    assert run.stage("finetune") is None


def test_a_damaged_manifest_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="is damaged"):
        Run(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        [],
        [[], []],
        [[{"b": 1, "a": ["ä", None]}, {"id": 2}], []],
        [["x", [1, [2, [3]]]], (4, [5]), {"k": [6]}],
        {"rows": [1, 2]},
        Path("p"),
    ],
)
def test_a_fingerprint_is_of_the_whole_canonical_text(value: object) -> None:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    assert fingerprint(value) == hashlib.sha256(f"v{FORMAT_VERSION}:{text}".encode()).hexdigest()


def test_a_fingerprint_of_many_rows_holds_one_at_a_time() -> None:
    rows = [{"id": n, "text": "x" * 1000} for n in range(2000)]
    _, peak = traced(lambda: fingerprint([rows, rows]))
    assert peak < 100_000


def test_fingerprint_ignores_key_order_only() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


@pytest.mark.parametrize("file", ["../outside.jsonl", "/etc/passwd", "a/../../b", "", "."])
def test_a_manifest_that_names_a_file_outside_its_folder_is_damaged(
    tmp_path: Path, file: str
) -> None:
    run = Run(tmp_path / "run")
    publish(run, "generate")
    manifest = json.loads(run.path("run.json").read_bytes())
    manifest["stages"]["generate"]["files"] = {file: "0" * 64}
    run.path("run.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="outside the folder"):
        Run(tmp_path / "run")


@pytest.mark.parametrize("change", [{"stages": []}, {"stages": {"generate": {}}}, {"id": "x"}])
def test_a_manifest_that_is_none_of_ours_is_told_in_one_line(
    tmp_path: Path, change: dict[str, object]
) -> None:
    run = Run(tmp_path)
    publish(run, "generate")
    run.path("run.json").write_text(json.dumps(run.manifest | change))
    with pytest.raises(RunError, match="is damaged") as caught:
        Run(tmp_path)
    assert "\n" not in str(caught.value)
