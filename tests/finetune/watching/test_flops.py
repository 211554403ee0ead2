"""Operations against torch's own counter, and the peaks by their names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mwalimu.finetune.watching import flops
from mwalimu.finetune.watching.flops import Flops, Work, peak_flops
from mwalimu.finetune.watching.speed import Speed
from tests.finetune.models import make_model, make_rows, to_batches

CPU = torch.device("cpu")


def counted(model: Any, rows: list[Any]) -> int:
    """Of a forward and backward pass of transformers' own, a row at a time; every token learned."""
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        for row in rows:
            ids = torch.tensor([row.ids])
            model(input_ids=ids, labels=ids).loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("arch", ["llama", "phi3", "qwen2", "gemma2"])
def test_the_formula_is_what_torch_counts(arch: str) -> None:
    """Whole sequences as targets, where PaLM's formula and ours are one."""
    model, rows = make_model(arch), [row.with_answer([], row.ids) for row in make_rows(3)]
    found = Flops(model)
    # Vectors (norms, biases) are part of N, and of no matrix product.
    vectors = 6 * sum(p.numel() for p in model.parameters() if p.ndim == 1)
    tokens = sum(len(row.ids) for row in rows)
    first_tokens = len(rows) * found.per_target  # a first token is no target, but has logits
    expected = found.of(Work.of(rows)) - vectors * tokens + first_tokens
    assert counted(model, rows) == pytest.approx(expected, rel=1e-6)


def test_frozen_weights_take_two_thirds_and_the_head_only_targets() -> None:
    model, rows = make_model(), make_rows(5)
    full = Flops(model).of(Work.of(rows))
    model.requires_grad_(False)
    attention = Flops(model).per_pair * sum(len(row.ids) ** 2 for row in rows)
    assert Flops(model).of(Work.of(rows)) - attention == pytest.approx((full - attention) * 2 / 3)
    all_targets = [row.with_answer([], row.ids) for row in make_rows(5)]
    more = sum(row.targets for row in all_targets) - sum(row.targets for row in rows)
    head = model.get_output_embeddings().weight.numel()
    assert Flops(model).of(Work.of(all_targets)) - Flops(model).of(Work.of(rows)) == 4 * head * more


@pytest.mark.parametrize(
    "name, peak",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA A10G", 1.0),  # not an A10, and so measured
        ("NVIDIA GeForce RTX 4090", 1.0),
    ],
)
def test_a_known_gpu_has_its_data_sheets_peak(
    name: str, peak: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(flops, "_measured", lambda *_: 1.0)
    assert peak_flops(torch.device("cuda"), torch.bfloat16) == peak
    assert peak_flops(torch.device("cuda"), torch.float32) == 1.0


def test_this_machine_is_measured_and_no_step_beats_it() -> None:
    assert 1e8 < peak_flops(CPU, torch.float32) < 1e14
    model, rows = make_model(), make_rows(8)
    speed = Speed(model, autocast=False)
    before = torch.get_rng_state()
    for batch in to_batches(rows, 4):
        model(input_ids=batch.ids_BT, labels=batch.ids_BT).loss.backward()
    found = speed.lap(Work.of(rows))
    assert 0 < found["mfu"] < 1 or found["mfu"] == 0.0
    assert found["tokens_per_second"] > 0 and found["peak_memory_mib"] > 50
    assert torch.equal(before, torch.get_rng_state())


def test_pauses_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(flops, "_measured", lambda *_: 1e9)
    speed, rows = Speed(make_model(), autocast=False), make_rows(4)
    tokens = sum(len(row.ids) for row in rows)
    now[0] += 2
    with speed.paused():
        now[0] += 60
    assert speed.lap(Work.of(rows))["tokens_per_second"] == pytest.approx(tokens / 2, abs=0.1)
    now[0] += 1
    found = speed.lap(Work.of(rows))
    assert found["tokens_per_second"] == tokens and speed.mean == pytest.approx(tokens * 2 / 3)
    assert found["mfu"] == round(speed.flops.of(Work.of(rows)) / 1e9, 4)
