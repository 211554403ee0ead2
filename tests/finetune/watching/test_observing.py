"""What those who operate a training see is what metrics.jsonl says."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mwalimu.telemetry import context, tracing
from tests.finetune.jobs import metrics, sums, train
from tests.telemetry.collector import collector
from tests.telemetry.watching import lines, watched

OTEL = "opentelemetry.exporter.otlp.proto.http"


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_lines_and_metrics_are_those_of_the_training(
    tiny: Path, tmp_path: Path, level: str
) -> None:
    log, file, folder = tmp_path / "log", tmp_path / "m.prom", tmp_path / "job"
    with watched(log, level, metrics_file=file), context.bound(stage="finetune"):
        train(tiny, folder, validation=sums(8, seed=1), epochs=2)
    told = metrics(folder)
    steps = [line for line in told if "loss" in line]
    validations = [line for line in told if "validation_loss" in line]
    assert len(lines(log, "step")) == (len(steps) if level == "DEBUG" else 0)
    for line, other in zip(lines(log, "validation"), validations, strict=True):
        assert line["validation_loss"] == other["validation_loss"] and line["stage"] == "finetune"
    assert [line["epoch"] for line in lines(log, "epoch ended")] == [1, 2]
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
        if sample.labels.get("stage") == "finetune"
    }
    last = steps[-1]
    assert values["mwalimu_training_step"] == values["mwalimu_training_steps"] == len(steps)
    assert values["mwalimu_training_loss"] == last["loss"]
    assert values["mwalimu_training_grad_norm"] == last["grad_norm"]
    assert values["mwalimu_training_target_tokens_total"] == last["tokens"]
    assert values["mwalimu_training_peak_memory_bytes"] == last["peak_memory_mib"] * 2**20
    assert values["mwalimu_training_validation_loss"] == validations[-1]["validation_loss"]


def test_every_epoch_is_a_span(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(OTEL)
    with collector() as found:
        monkeypatch.setenv(tracing.ENDPOINTS[0], found.url)
        with watched(tmp_path / "log"):
            train(tiny, tmp_path / "job", validation=sums(8, seed=1), epochs=2)
    spans = found.spans()
    assert [span.name for span in spans] == ["epoch 1", "epoch 2"]
    assert spans[1].attributes["mwalimu.epoch"] == 2 and spans[1].attributes["mwalimu.loss"] > 0
