"""Whether a finished student is taken: by the validation rows alone, once, and said."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mwalimu.config import ExportFinishConfig, TargetConfig
from mwalimu.data.dataset import load_records
from mwalimu.errors import DiskFull, StudentError
from mwalimu.run import Run
from mwalimu.shipping import finishing as module
from mwalimu.shipping.finishing import Finishing, Source
from mwalimu.shipping.stage import Stage
from mwalimu.shipping.trial import run_trial
from tests.shipping.runs import ROWS, chat, make_run, write
from tests.tiny import make_tiny_model

INT4 = TargetConfig(to="onnx", precision="int4")
VALIDATION = [chat(100 + i, text, "7") for i, text in enumerate(ROWS[:5])]


class House:
    """A run whose exports are files with the name of their student, and whose bench knows how
    accurate each is; training is counted.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.run = make_run(root)
        files = [
            write(self.run.path("curate", f"{split}.jsonl"), VALIDATION)
            for split in ("train", "validation")
        ]
        self.run.finish("curate", "c", files, {})
        self.root = root
        self.accuracy = {"student": 1.0, "plain": 0.8, "finished": 0.9}
        self.losses = {"validation_loss_before": 0.5, "validation_loss": 0.4}
        self.trained = 0
        monkeypatch.setattr(module, "finish_student", self._train)

    def decide(
        self, target: TargetConfig = INT4, *, gold: bool = True, **settings: Any
    ) -> tuple[Source, module.Finish]:
        path = self.run.path("curate", "validation.jsonl")
        bench = SimpleNamespace(
            test=load_records(path, task="qa", split="validation") if gold else [],
            student=lambda: self._tried("student"),
            tried=lambda export, folder, size: self._tried((folder / "of").read_text()),
        )
        plain = Source(self.run.path("finetune", "student"), {"model": "1"})
        asked = ExportFinishConfig(**settings)
        silent = lambda *call: None  # noqa: E731
        make: Any = self._make
        finishing = Finishing(self.config, asked, self.run, plain, bench, make, silent)  # type: ignore[arg-type]
        return finishing.source(target)

    def _tried(self, name: str) -> Any:
        right = round(10 * self.accuracy[name])
        return SimpleNamespace(rows=[{"score": 1.0}] * right + [{"score": 0.0}] * (10 - right))

    def _make(self, source: Source, target: TargetConfig, folder: Path) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        finished = "finish" in source.folder.parts
        (folder / "of").write_text("finished" if finished else "plain")
        return SimpleNamespace(files={}, weights="of")

    def _train(self, *args: Any, **more: Any) -> dict[str, float]:
        self.trained += 1
        student = args[4] / "student"
        student.mkdir(parents=True, exist_ok=True)
        (student / "model.safetensors").write_bytes(b"finished")
        return self.losses


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(module, "size_mib", lambda folder, export: 1.0)
    return House(tmp_path, monkeypatch)


def test_a_finished_student_that_is_more_accurate_is_taken(house: House) -> None:
    source, finish = house.decide()
    assert finish.taken and (finish.measure, finish.before, finish.after) == ("accuracy", 0.8, 0.9)
    assert finish.why == "finished: accuracy on the validation rows from 80.0 to 90.0 %"
    assert source.folder == house.run.path("export", "finish", "onnx-int4", "student")
    assert set(source.files) == {"model.safetensors"}


@pytest.mark.parametrize("after", [0.8, 0.7])
def test_one_that_is_not_is_not(house: House, after: float) -> None:
    house.accuracy["finished"] = after
    source, finish = house.decide()
    assert not finish.taken and source.folder == house.run.path("finetune", "student")
    assert f"is not taken: accuracy on the validation rows from 80.0 to {100 * after:.1f}" in (
        finish.why
    )


def test_a_small_loss_is_let_be(house: House) -> None:
    _, finish = house.decide(above=0.2)
    assert house.trained == 0 and not finish.taken and finish.measure is None
    assert finish.why.endswith("loses 20.0 points on the validation rows, and 20.0 are allowed")


@pytest.mark.parametrize(("after", "taken"), [(0.4, True), (0.5, False), (0.6, False)])
def test_without_gold_answers_the_loss_decides(house: House, after: float, taken: bool) -> None:
    house.losses["validation_loss"] = after
    _, finish = house.decide(gold=False)
    assert (finish.taken, finish.measure, finish.after) == (taken, "validation_loss", after)
    assert f"from 0.5000 to {after:.4f}" in finish.why


def test_it_is_decided_once(house: House) -> None:
    first = house.decide()
    assert house.decide() == first and house.trained == 1
    house.decide(epochs=2)
    assert house.trained == 2
    house.accuracy["finished"] = 0.1
    assert not house.decide()[1].taken
    assert not house.decide()[1].taken and house.trained == 3


def test_a_damaged_finished_student_is_trained_again(house: House) -> None:
    first = house.decide()
    (first[0].folder / "model.safetensors").write_bytes(b"damaged")
    assert house.decide() == first and house.trained == 2


def test_what_cannot_be_finished_is_exported_as_it_is(house: House) -> None:
    source, finish = house.decide(TargetConfig(to="openvino", precision="int4"))
    assert source.folder == house.run.path("finetune", "student") and not finish.taken
    assert "how openvino rounds is not reproduced" in finish.why and house.trained == 0


def test_without_validation_rows_nothing_is_decided(house: House) -> None:
    house.run.finish("curate", "c", [house.run.path("curate", "train.jsonl")], {})
    assert "no validation rows" in house.decide(gold=False)[1].why


@pytest.mark.parametrize("error", [StudentError("broke"), DiskFull("full")])
def test_a_full_disk_ends_the_stage_and_nothing_else_does(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(module, "finish_student", fail)
    if isinstance(error, DiskFull):
        with pytest.raises(DiskFull):
            house.decide()
    else:
        assert house.decide()[1].why == "not finished: broke"


def onnx_run(root: Path) -> tuple[Any, Run]:
    """Of heads that ONNX has, with validation rows that have answers of a teacher."""
    export = {"targets": [INT4.model_dump()], "finish": {"learning_rate": 1e-3}}
    config, run = make_run(root, **export)
    student = make_tiny_model(run.path("finetune", "student"), hidden=64, layers=1, spread=0.3)
    files = [
        write(run.path("curate", f"{split}.jsonl"), VALIDATION) for split in ("train", "validation")
    ]
    run.finish("curate", "c", files, {"out": 5})
    run.finish("finetune", "f", [p for p in student.iterdir() if p.is_file()], {})
    return config, run


def test_a_target_is_made_of_the_student_that_was_finished_for_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    config, run = onnx_run(tmp_path)
    test = load_records(config.data.test, task="qa", split="test")
    said: list[str] = []

    def ship(trial: Callable[..., Any] = run_trial) -> dict[str, Any]:
        note = lambda stage, done, total, text: said.append(f"{stage}: {text}")  # noqa: E731
        return Stage(config, run, test, trial=trial, progress=note).ship("f")

    summary = ship()
    (entry,) = summary["exports"]
    finish = entry["finish"]
    assert finish["taken"] and finish["measure"] == "validation_loss"
    assert 0 < finish["after"] < finish["before"] and math.isfinite(finish["before"])
    scores = json.loads(run.path("export", "onnx-int4", "scores.json").read_bytes())
    assert scores["finish"] == finish
    assert run.path("export", "finish", "onnx-int4", "student", "model.safetensors").exists()
    said.clear()
    assert ship(pytest.fail) == summary
    assert "export onnx-int4: already made" in said
