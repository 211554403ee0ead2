"""What those who operate a training see of it: log lines, metrics, a span an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mwalimu.telemetry import context, logs, metrics, tracing
from mwalimu.telemetry.setting_up import is_on

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LABELS = ("stage",)
GAUGES: dict[str, tuple[str, str, float]] = {
    "mwalimu_training_step": ("optimiser steps that are done", "step", 1),
    "mwalimu_training_steps": ("optimiser steps in all", "steps", 1),
    "mwalimu_training_epoch": ("with its fraction", "epoch", 1),
    "mwalimu_training_loss": ("of the last step, nats a target token", "loss", 1),
    "mwalimu_training_validation_loss": ("the last, nats a target token", "validation_loss", 1),
    "mwalimu_training_grad_norm": ("of the last step, before it was clipped", "grad_norm", 1),
    "mwalimu_training_learning_rate": ("of the last step", "learning_rate", 1),
    "mwalimu_training_tokens_per_second": ("of the last step", "tokens_per_second", 1),
    "mwalimu_training_model_flops_utilisation_ratio": ("of the last step, 0 to 1", "mfu", 1),
    "mwalimu_training_peak_memory_bytes": (
        "of the GPU's allocator, or of the process",
        "peak_memory_mib",
        2**20,
    ),
}
"""Name -> its help, the key of a line of metrics.jsonl, and what that is multiplied with."""
COUNTERS: dict[str, tuple[str, str]] = {
    "mwalimu_training_target_tokens": ("target tokens that were learned", "tokens"),
    "mwalimu_training_seconds": ("that were trained, in all lives", "seconds"),
}


class Observer:
    """Of one training. `epoch` is called when one is over."""

    def __init__(self, total: int) -> None:
        self._on = is_on()
        self._values: dict[str, Any] = {}
        self._epoch_began = time.time_ns()
        if (found := metrics.collector(TrainingMetrics)) is not None:
            stage = str(context.field("stage") or "")
            self._values = found.trainings.setdefault(stage, {})
            self._values["steps"] = total

    def line(self, line: Mapping[str, Any]) -> None:
        """Of a step, or of a validation."""
        if not self._on:
            return
        self._values.update(line)
        validated = "validation_loss" in line
        told = {key: line.get(key) for key in ("step", "epoch", "loss", "validation_loss")}
        told |= {key: line.get(key) for key in ("tokens_per_second", "grad_norm")}
        level = logs.INFO if validated else logs.DEBUG
        logs.say("validation" if validated else "step", level, **told)

    def sign(self, kind: str, step: int) -> None:
        if self._on:
            logs.say("sign", logs.WARNING, status=kind, step=step)

    def epoch(self, number: int, step: int, loss: float) -> None:
        if not self._on:
            return
        logs.say("epoch ended", epoch=number, step=step, loss=loss)
        attributes = {"mwalimu.epoch": number, "mwalimu.step": step, "mwalimu.loss": loss}
        tracing.past(f"epoch {number}", self._epoch_began, attributes)
        self._epoch_began = time.time_ns()


class TrainingMetrics:
    """A collector. `trainings`: the last values of each stage's training."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.trainings: dict[str, dict[str, Any]] = {}
        registry.register(self)

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        trainings = {stage: dict(values) for stage, values in tuple(self.trainings.items())}
        for name, (text, key, factor) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for stage, values in trainings.items():
                if key in values:
                    gauge.add_metric((stage,), values[key] * factor)
            yield gauge
        for name, (text, key) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for stage, values in trainings.items():
                if key in values:
                    counter.add_metric((stage,), values[key])
            yield counter
