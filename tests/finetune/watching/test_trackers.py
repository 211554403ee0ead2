"""TensorBoard, MLflow and W&B have every step once, whatever was killed in between."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import MissingDependency
from mwalimu.finetune.watching import trackers
from mwalimu.finetune.watching.trackers import Trackers, require_trackers
from tests.command import processes
from tests.finetune import worker
from tests.finetune.jobs import metrics, sums, train
from tests.finetune.test_resume import reached, wait_for

THEIR_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow of SQLAlchemy
JOB: dict[str, Any] = {"validation": sums(8, seed=1), "save_every": 5}


class Remembering:
    """A tracker whose server outlives the training."""

    def __init__(self) -> None:
        self.points: list[tuple[str, int, dict[str, float]]] = []
        self.closed = 0
        self.broken = False

    def last(self, kind: str) -> int:
        return max((step for known, step, _ in self.points if known == kind), default=-1)

    def show(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self.broken:
            raise ConnectionError("refused\nby the server")
        self.points.append((kind, step, values))

    def close(self) -> None:
        self.closed += 1

    def steps(self, kind: str) -> list[int]:
        return [step for known, step, _ in self.points if known == kind]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Remembering:
    server = Remembering()
    monkeypatch.setattr(trackers, "_open", lambda *_: server)
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    return server


class Crash(Exception):
    pass


def crash_at(step: int) -> Callable[..., None]:
    def on_progress(_label: str, done: int, total: int, _note: str) -> None:
        if total and done == step:
            raise Crash

    return on_progress


def test_a_crash_repeats_no_step(tmp_path: Path, tiny: Path, server: Remembering) -> None:
    with pytest.raises(Crash):
        train(tiny, tmp_path, **JOB, track=["mlflow"], on_progress=crash_at(9))
    assert server.steps("train") == list(range(1, 10)) and server.closed == 1
    train(tiny, tmp_path, **JOB, track=["mlflow"])
    assert server.steps("train") == list(range(1, 17)) and server.closed == 2
    assert server.steps("validation") == [8, 16]
    lines = {line["step"]: line for line in metrics(tmp_path) if "loss" in line}
    for kind, step, values in server.points:
        if kind == "train":
            assert values["train/loss"] == lines[step]["loss"]
            assert values["train/parts/cross_entropy"] == lines[step]["parts"]["cross_entropy"]
            assert values["train/learning_rate"] == lines[step]["learning_rate"]
        else:
            assert values.keys() == {
                "validation/loss",
                "validation/answer_nats",
                "validation/epoch",
            }


def test_a_tracker_that_comes_later_gets_what_was_before(
    tmp_path: Path, tiny: Path, server: Remembering
) -> None:
    with pytest.raises(Crash):
        train(tiny, tmp_path, **JOB, on_progress=crash_at(14))
    assert server.points == []
    train(tiny, tmp_path, **JOB, track=["wandb"])
    assert server.steps("train") == list(range(1, 17))
    assert server.steps("validation") == [8, 16]


def test_a_tracker_that_fails_does_not_stop_the_training(
    tmp_path: Path, tiny: Path, server: Remembering
) -> None:
    said: list[str] = []

    def on_progress(_label: str, done: int, _total: int, note: str) -> None:
        server.broken = done >= 5
        said.append(note)

    summary = train(tiny, tmp_path, **JOB, track=["mlflow"], on_progress=on_progress)
    assert summary["steps"] == 16 and server.steps("train") == [1, 2, 3, 4, 5]
    failures = [note for note in said if "shows this training no longer" in note]
    assert failures == [
        "mlflow shows this training no longer (ConnectionError: refused); metrics.jsonl goes on"
    ]


def test_a_tracker_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("unable to open database file")

    monkeypatch.setattr(trackers, "_open", fail)
    said: list[str] = []
    none_open = Trackers(["mlflow"], tmp_path, "job", said.append)
    none_open.show({"step": 1, "loss": 1.0})
    none_open.close()
    assert len(said) == 1 and said[0].startswith("mlflow shows this training no longer (OSError")


def test_what_is_missing_is_named_before_anything_is_loaded(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else True)
    calls: list[Any] = []
    with pytest.raises(MissingDependency) as told:
        train(
            tiny, tmp_path, track=["mlflow", "wandb"], on_progress=lambda *call: calls.append(call)
        )
    assert str(told.value) == (
        "finetune.track: wandb is not installed; pip install 'mwalimu[wandb]', or leave it out"
    )
    assert calls == []
    require_trackers([])


def killed_and_resumed(folder: Path, tiny: Path, name: str) -> None:
    """SIGKILL at step 8 or a little later, behind the checkpoint of step 5; then to the end."""
    job = {**JOB, "track": [name]}
    process = processes().Process(target=worker.run_job, args=(tiny, folder, job))
    process.start()
    assert wait_for(partial(reached, folder, 7), process)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    train(tiny, folder, **job)


@THEIR_WARNINGS
def test_tensorboard(tmp_path: Path, tiny: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    killed_and_resumed(tmp_path, tiny, "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for kind, key in (("train", "loss"), ("validation", "validation_loss")):
        lines = [line for line in metrics(tmp_path) if key in line]
        points = events.Scalars(f"{kind}/loss")
        assert [p.step for p in points] == [line["step"] for line in lines]
        assert [p.value for p in points] == pytest.approx([line[key] for line in lines])


@THEIR_WARNINGS
def test_mlflow(tmp_path: Path, tiny: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    killed_and_resumed(tmp_path, tiny, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("mwalimu")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    for kind, key in (("train", "loss"), ("validation", "validation_loss")):
        lines = [line for line in metrics(tmp_path) if key in line]
        points = client.get_metric_history(run.info.run_id, f"{kind}/loss")
        assert [(p.step, p.value) for p in points] == [(x["step"], x[key]) for x in lines]


@THEIR_WARNINGS
def test_wandb_offline(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    killed_and_resumed(tmp_path, tiny, "wandb")
    (written,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    history = list(read_history(written))
    for kind, key in (("train", "loss"), ("validation", "validation_loss")):
        lines = [line for line in metrics(tmp_path) if key in line]
        points = [point for point in history if f"{kind}/loss" in point]
        assert [(p[f"{kind}/step"], p[f"{kind}/loss"]) for p in points] == [
            (line["step"], line[key]) for line in lines
        ]


def read_history(path: Path) -> Iterator[dict[str, float]]:
    """The log format of LevelDB behind 7 bytes, with a protobuf a record."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, block, header = path.read_bytes(), 32768, 7
    at, pending = header, b""
    while at + header <= len(data):
        if block - at % block < header:  # no room for a header at the end of a block
            at += block - at % block
            continue
        length = int.from_bytes(data[at + 4 : at + 6], "little")
        pending += data[at + header : at + header + length]
        if data[at + 6] in (1, 4):  # whole, or the last part
            record = Record.FromString(pending)
            pending = b""
            if record.HasField("history"):
                items = record.history.item
                yield {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
        at += header + length
