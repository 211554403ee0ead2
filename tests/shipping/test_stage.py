"""Exports made, tried and packed; what is unchanged is left alone, what fails stops no other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config
from mwalimu.data.dataset import load_records
from mwalimu.errors import ConfigError, GateFailed, RunError, StudentError
from mwalimu.export.package import ADDED
from mwalimu.run import Run
from mwalimu.runtimes import read_export
from mwalimu.shipping import stage as stage_module
from mwalimu.shipping.gate import require_made, require_passed
from mwalimu.shipping.stage import Stage
from mwalimu.shipping.trial import Found, Job, run_trial
from tests.shipping.runs import make_run

FP32, FP16 = {"to": "safetensors"}, {"to": "safetensors", "precision": "fp16"}
INT4 = {"to": "safetensors", "precision": "int4"}


class Trials:
    """Trials in this process, counted."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, job: Job, on_done: Callable[[int], None]) -> Found:
        self.names.append(Path(job.folder).name)
        return run_trial(job, on_done)


def ship(config: Config, run: Run, trial: Any = run_trial) -> dict[str, Any]:
    test = load_records(config.data.test, task="qa", split="test") if config.data.test else []
    said = lambda stage, done, total, note: None  # noqa: E731
    return Stage(config, run, test, trial=trial, progress=said).ship("f")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Run, dict[str, Any]]:
    config, run = make_run(tmp_path_factory.mktemp("job"), targets=[FP32, INT4, FP16])
    return config, run, ship(config, run)


def test_full_precision_is_the_student_in_every_number(
    shipped: tuple[Config, Run, dict[str, Any]],
) -> None:
    _, run, summary = shipped
    first, second = summary["exports"]
    assert (first["name"], second["name"]) == ("safetensors-fp32", "safetensors-fp16")
    assert first["agreement"] == {"answers": 1.0, "prefix": 1.0, "texts": 1.0}
    assert first["difference"]["mean"] == 0 and first["p_value"] == first["p_adjusted"] == 1
    assert first["accuracy"] == summary["student"]["accuracy"]
    assert first["parity"]["max_error"] == 0 and first["parity"]["same_best"] == 1
    assert first["parity"]["rows"] == 4 and first["parity"]["positions"] > 40
    assert 0 < second["parity"]["max_error"] < 0.1 and second["size_mib"] < first["size_mib"]
    assert first["performance"]["latency_rows"] == 6 and first["performance"]["tokens_per_s"] > 0
    state = Run(run.root).require("export")
    assert state.summary == json.loads(json.dumps(summary))
    assert "export/predictions/safetensors-fp16.jsonl" in state.files


def test_what_cannot_be_exported_is_listed_with_its_reason(
    shipped: tuple[Config, Run, dict[str, Any]],
) -> None:
    summary = shipped[2]
    (failure,) = summary["failed"]
    assert failure["name"] == "safetensors-int4" and "has no int4" in failure["why"]
    with pytest.raises(ConfigError, match="safetensors has no int4"):
        require_made(summary)


def test_a_package_is_whole_and_tells_what_the_licences_ask(
    shipped: tuple[Config, Run, dict[str, Any]],
) -> None:
    folder = shipped[1].path("export", "safetensors-fp16")
    export = read_export(folder, verify=True)
    assert {*ADDED, "sample.py", "model.safetensors", "tokenizer.json"} <= set(export.files)
    card = (folder / "README.md").read_text()
    for expected in ("base_model: tiny", "12 prompts", "`ab12`", "fp16", "held-out rows"):
        assert expected in card, expected
    assert '"Built with Llama"' in (folder / "LICENSE-NOTES").read_text()
    assert str(shipped[1].root) not in card


def test_nothing_is_made_or_measured_twice(shipped: tuple[Config, Run, dict[str, Any]]) -> None:
    config, run, summary = shipped
    model = run.path("export", "safetensors-fp32", "model.safetensors")
    before, trials = model.stat().st_mtime_ns, Trials()
    assert ship(config, run, trials) == summary
    assert trials.names == [] and model.stat().st_mtime_ns == before


def test_a_changed_file_is_seen_and_the_export_made_again(tmp_path: Path) -> None:
    config, run = make_run(tmp_path)
    ship(config, run)
    folder = run.path("export", "safetensors-fp32")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match="1 files are missing or changed"):
        read_export(folder, verify=True)
    ship(config, run)
    assert len(read_export(folder, verify=True).files) > 5


def test_a_new_student_is_exported_and_measured_anew(tmp_path: Path) -> None:
    config, run = make_run(tmp_path)
    ship(config, run)
    path = run.path("finetune", "student", "model.safetensors")
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x00\x3f")
    files = list(path.parent.iterdir())
    run.finish("finetune", "g", files, {"parameters": 30_000})
    trials = Trials()
    (entry,) = ship(config, run, trials)["exports"]
    assert trials.names == ["student", "safetensors-fp32"] and entry["parity"]["max_error"] == 0


class Killed(Exception):
    pass


def test_a_killed_trial_goes_on_where_it_was(tmp_path: Path) -> None:
    """The reference answers in one batch; its journal has them when the life ends."""
    config, run = make_run(tmp_path)

    def killed(job: Job, on_done: Callable[[int], None]) -> Found:
        def stop(done: int) -> None:
            raise Killed

        return run_trial(job, stop)

    with pytest.raises(Killed):
        ship(config, run, killed)
    journal = run.path("export", "trials", "student", "answers.jsonl")
    assert len(journal.read_bytes().splitlines()) == 2
    done: list[int] = []

    def counting(job: Job, on_done: Callable[[int], None]) -> Found:
        return run_trial(job, done.append)

    summary = ship(config, run, counting)
    assert done == [6]  # the export's batch; the student's was in the journal
    assert summary["exports"][0]["agreement"]["answers"] == 1


def test_a_runtime_that_computes_something_else_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = make_run(tmp_path, targets=[FP32, FP16])
    real = stage_module.make

    def wrong(student: Path, folder: Path, target: Any, **more: Any) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        if target.precision == "fp16":
            return real(student, folder, target, **more)
        model = AutoModelForCausalLM.from_pretrained(student)
        with torch.no_grad():
            model.model.norm.weight[0] += 0.5
        other = tmp_path / "other"
        model.save_pretrained(other)
        for path in student.glob("tok*"):
            (other / path.name).write_bytes(path.read_bytes())
        return real(other, folder, target, **more)

    monkeypatch.setattr(stage_module, "make", wrong)
    summary = ship(config, run)
    assert [entry["name"] for entry in summary["exports"]] == ["safetensors-fp16"]
    assert "computes something else than the student" in summary["failed"][0]["why"]
    assert not run.path("export", "safetensors-fp32").exists()
    with pytest.raises(StudentError):
        require_made(summary)


def test_the_gate_names_who_misses_it_and_by_what(tmp_path: Path) -> None:
    require = {"agreement": 1.0, "size_mib": 0.0001}
    config, run = make_run(tmp_path, targets=[FP32], require=require)
    summary = ship(config, run)
    checks = summary["exports"][0]["gate"]["checks"]
    assert [check["passed"] for check in checks] == [True, False]
    assert summary["pick"]["name"] is None
    with pytest.raises(GateFailed, match="1 of 1 exports miss the gate: safetensors-fp32"):
        require_passed(summary)


def test_without_test_rows_there_is_parity_and_no_score(tmp_path: Path) -> None:
    config, run = make_run(tmp_path, test=False)
    summary = ship(config, run)
    (entry,) = summary["exports"]
    assert entry["accuracy"] is None and entry["parity"]["max_error"] == 0
    assert "not measured" in run.path("export", "safetensors-fp32", "README.md").read_text()
    assert summary["pick"]["name"] is None
