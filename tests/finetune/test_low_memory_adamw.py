"""AdamW of few bits, against AdamW in float64 and the 8 bits of the paper."""

from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.finetune import low_memory_adamw
from mwalimu.finetune.low_memory_adamw import BLOCK, LEAST_NUMBERS, LowMemoryAdamW, _values
from mwalimu.finetune.optimiser import build_optimiser
from mwalimu.finetune.snapshot import OPTIMISER, Snapshot
from tests.finetune.jobs import settings
from tests.finetune.test_optimiser import adamw

RATE, DECAY = 0.01, 0.1
SHAPE = (50, 100)  # more than LEAST_NUMBERS, and no whole number of blocks


def noise(steps: int, shape: tuple[int, ...] = SHAPE) -> list[np.ndarray]:
    """Gradients of sizes that are up to four decades apart."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-4, 0, shape)
    return [sizes * (rng.normal(size=shape) + 0.5) for _ in range(steps)]


def started(dtype: torch.dtype, shape: tuple[int, ...] = SHAPE) -> torch.nn.Parameter:
    start = np.random.default_rng(1).normal(size=shape)
    return torch.nn.Parameter(torch.tensor(start, dtype=torch.bfloat16).to(dtype))


def trained(
    parameter: torch.nn.Parameter, gradients: list[np.ndarray], **changes: Any
) -> torch.optim.Optimizer:
    config = settings(learning_rate=RATE, weight_decay=DECAY, **changes)
    optimiser = build_optimiser([("weight", parameter)], config)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.bfloat16).to(parameter.dtype)
        optimiser.step()
    return optimiser


def exact(gradients: list[np.ndarray]) -> torch.Tensor:
    """In float64, from the same rounded start along the same rounded gradients."""
    start = started(torch.float64, gradients[0].shape).detach().numpy()
    rounded = [torch.tensor(g, dtype=torch.bfloat16).double().numpy() for g in gradients]
    return torch.tensor(adamw(start, rounded, DECAY))


def halves_joined(parameter: torch.Tensor, optimiser: Any) -> torch.Tensor:
    """By numpy's own reading of the bits."""
    upper = parameter.detach().flatten().view(torch.int16).numpy().astype(np.int64)
    lower = optimiser.state[parameter]["lower_half"].numpy().astype(np.int64)
    bits = ((upper << 16) + lower).astype(np.int32)
    return torch.tensor(bits.view(np.float32)).view(parameter.shape)


@pytest.mark.parametrize("moments", [32, 8])
def test_16_bits_learn_what_32_do_to_the_bit(moments: int) -> None:
    gradients, wide, low = noise(40), started(torch.float32), started(torch.bfloat16)
    name = "adamw" if moments == 32 else "adamw_8bit"
    optimiser = trained(low, gradients, optimiser=name)
    groups = [{"params": [wide], "weight_decay": DECAY}]
    other = LowMemoryAdamW(groups, lr=RATE, betas=(0.9, 0.999), moments=moments)
    for gradient in gradients:
        wide.grad = torch.tensor(gradient, dtype=torch.bfloat16).float()
        other.step()
    assert torch.equal(halves_joined(low, optimiser), wide)
    torch.testing.assert_close(low.float(), wide, rtol=2.0**-8, atol=0)  # rounded to the nearest


def test_with_32_bits_it_is_adamw() -> None:
    gradients, parameter = noise(20), started(torch.bfloat16)
    optimiser = trained(parameter, gradients)
    found = halves_joined(parameter, optimiser).double()
    torch.testing.assert_close(found, exact(gradients), rtol=2e-5, atol=2e-6)


def test_updates_that_bfloat16_cannot_tell_apart_add_up() -> None:
    ours, torchs = (torch.nn.Parameter(torch.ones(8, 8, dtype=torch.bfloat16)) for _ in range(2))
    optimiser = build_optimiser([("weight", ours)], settings(learning_rate=1e-5))
    plain = torch.optim.AdamW([torchs], lr=1e-5)
    for _ in range(1000):
        ours.grad = torchs.grad = torch.ones_like(ours)
        optimiser.step()
        plain.step()
    assert torch.equal(torchs, torch.ones_like(torchs))  # the trap
    torch.testing.assert_close(ours.double(), torch.full((8, 8), 0.99).double(), atol=2e-3, rtol=0)


def test_moments_in_8_bits_lead_to_about_the_same_weights() -> None:
    """Though the gradients of a block are ten thousandfold apart."""
    gradients, parameter = noise(40), started(torch.float32)
    trained(parameter, gradients, optimiser="adamw_8bit")
    moved = (exact(gradients) - started(torch.float64)).abs()
    apart = (parameter.double() - exact(gradients)).abs()
    assert apart.mean() <= 0.08 * moved.mean() and apart.max() <= 0.5 * moved.max()


def test_small_tensors_keep_32_bits_and_are_exact() -> None:
    gradients, parameter = noise(20, (7, 3)), started(torch.float32, (7, 3))
    trained(parameter, gradients, optimiser="adamw_8bit")
    torch.testing.assert_close(parameter.double(), exact(gradients), rtol=2e-5, atol=2e-6)


def test_slabs_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = noise(5)
    for dtype in (torch.float32, torch.bfloat16):
        whole, parts = started(dtype), started(dtype)
        trained(whole, gradients, optimiser="adamw_8bit")
        monkeypatch.setitem(low_memory_adamw.SLABS, "cpu", 4 * BLOCK)
        trained(parts, gradients, optimiser="adamw_8bit")
        assert torch.equal(parts, whole)
        monkeypatch.undo()


def test_both_moments_take_2_bytes_a_weight_and_its_lower_half_2() -> None:
    parameter = torch.nn.Parameter(torch.ones(64, 256, dtype=torch.bfloat16))
    optimiser = build_optimiser([("weight", parameter)], settings(optimiser="adamw_8bit"))
    parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    state = optimiser.state[parameter]
    moments = [state[name] for name in ("exp_avg", "exp_avg_root")]
    kept = sum(t.nbytes for moment in moments for t in moment.values())
    kept += state["lower_half"].nbytes
    assert kept == parameter.numel() * (2 * (1 + 4 / BLOCK) + 2)
    assert parameter.numel() >= LEAST_NUMBERS


@pytest.mark.parametrize("signed", [True, False])
def test_the_8_bits_are_those_of_the_paper(signed: bool) -> None:
    """Seven decades below 1, each with twice the values of the one below; 0 and 1."""
    values = _values(signed, torch.device("cpu"))
    assert len(values.unique()) == 256 and torch.equal(values, values.sort().values)
    assert {0.0, 1.0} <= set(values.tolist())
    for decade in range(7):
        low, high = 10.0 ** (decade - 7), 10.0 ** (decade - 6)
        inside = values[(values > low) & (values < high)]
        assert len(inside) == 2**decade * (1 if signed else 2)
    below_zero = -values[values < 0].flip(0)
    above = values[(values > 0) & (values < 1)]
    assert torch.equal(below_zero, above) if signed else not len(below_zero)


def test_a_number_is_kept_as_what_is_nearest_but_for_the_rounding_of_the_look_up() -> None:
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(16 * BLOCK))
    moment = low_memory_adamw._zeros_in_8_bits(parameter)
    numbers = torch.randn(16 * BLOCK) * 10.0 ** -torch.randint(0, 5, (16 * BLOCK,))
    whole = slice(0, 16 * BLOCK)
    low_memory_adamw._keep(moment, whole, numbers, signed=True)
    found = low_memory_adamw._read(moment, whole, signed=True)
    scale = numbers.view(-1, BLOCK).abs().amax(1).repeat_interleave(BLOCK)
    values = _values(True, torch.device("cpu"))
    nearest = (numbers / scale).sub(values[:, None]).abs().amin(0) * scale
    assert ((found - numbers).abs() <= nearest + 2.0**-7 * numbers.abs()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_saved_and_taken_up_to_the_bit(tmp_path: Any, dtype: torch.dtype) -> None:
    def make() -> tuple[torch.nn.Module, Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(80, 60), torch.nn.LayerNorm(60)).to(dtype)
        return model, build_optimiser(model.named_parameters(), settings(optimiser="adamw_8bit"))

    def steps(model: torch.nn.Module, optimiser: Any, seeds: range) -> None:
        for seed in seeds:
            torch.manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimiser.step()

    model, optimiser = make()
    steps(model, optimiser, range(3))
    Snapshot(model, optimiser).write(tmp_path)
    steps(model, optimiser, range(3, 6))
    other, taken = make()
    Snapshot(other, taken).read(tmp_path)
    steps(other, taken, range(3, 6))
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    kept = Snapshot(model, optimiser).tensors()[OPTIMISER]
    assert any(t.dtype == torch.uint8 for t in kept.values())
    for name, tensor in Snapshot(other, taken).tensors()[OPTIMISER].items():
        assert torch.equal(tensor, kept[name])
