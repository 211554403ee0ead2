"""Frozen matrices in few bits: what they stand for, and that they are used as just that."""

from importlib.util import find_spec

import pytest
import torch

from mwalimu.data import quantised
from mwalimu.data.quantised import FrozenLinear, dequantise, is_quantised, parameter_count, quantise
from mwalimu.errors import MissingDependency
from tests.finetune.models import make_model

CPU = torch.device("cpu")
four_bits = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
BITS = [8, pytest.param(4, marks=four_bits)]

# NormalFloat's levels, appendix E of Dettmers et al. 2023.
NF4 = torch.tensor(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)


def linear(outputs: int, inputs: int, *, bias: bool = False) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs, bias=bias)


def test_8_bits_are_whole_numbers_of_a_scale_a_row() -> None:
    plain = linear(6, 40)
    with torch.no_grad():
        plain.weight[0] *= 50
        plain.weight[2] = 0
    found = FrozenLinear(plain, 8).weight
    step = plain.weight.abs().amax(1, keepdim=True) / 127
    nearest = torch.where(step > 0, (plain.weight / step).round() * step, 0)
    torch.testing.assert_close(found, nearest.detach(), rtol=1e-6, atol=0)
    assert not found[2].any()


@four_bits
@pytest.mark.parametrize("shape", [(8, 128), (5, 24)])
def test_4_bits_are_the_nearest_levels_of_normal_float(shape: tuple[int, int]) -> None:
    plain = linear(*shape)
    found = FrozenLinear(plain, 4).weight.flatten()
    for start in range(0, plain.weight.numel(), 64):
        block = plain.weight.detach().flatten()[start : start + 64]
        scaled = block / block.abs().max()
        levels = NF4[(scaled[:, None] - NF4).abs().argmin(1)]
        own = found[start : start + 64]
        scale = (own * levels).sum() / levels.square().sum()
        torch.testing.assert_close(own, levels * scale, rtol=1e-5, atol=1e-7)
        # The scale of a block is in 8 bits itself.
        assert abs(scale / block.abs().max() - 1) < 0.02


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_with_the_numbers_that_it_stands_for(bits: int, dtype: torch.dtype) -> None:
    layer = FrozenLinear(linear(8, 64, bias=True).to(dtype), bits)
    plain = layer.plain()
    states = [torch.randn(2, 3, 64).to(dtype).requires_grad_() for _ in range(2)]
    states[1].data.copy_(states[0].data)
    own, expected = layer(states[0]), plain(states[1])
    torch.testing.assert_close(own, expected)
    own.square().sum().backward()
    expected.square().sum().backward()
    assert states[0].grad is not None and states[1].grad is not None
    torch.testing.assert_close(states[0].grad, states[1].grad)
    assert torch.equal(plain.weight, layer.weight)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("bits", BITS)
def test_the_same_numbers_on_cuda(bits: int) -> None:
    plain = linear(64, 512)
    here = FrozenLinear(plain, bits)
    there = FrozenLinear(linear(64, 512).cuda(), bits)
    torch.testing.assert_close(there.weight.cpu(), here.weight)
    moved = FrozenLinear(plain, bits).cuda()
    assert torch.equal(moved.weight.cpu(), here.weight)


@pytest.mark.parametrize("bits", BITS)
def test_nothing_of_it_is_saved_or_learned_and_little_is_kept(bits: int) -> None:
    layer = FrozenLinear(linear(64, 512), bits)
    assert not layer.state_dict() and not list(layer.parameters())
    held = sum(b.numel() * b.element_size() for b in layer.buffers())
    assert held < 64 * 512 * bits / 8 * 1.1 + 1500  # the tables of levels


@pytest.mark.parametrize("bits", BITS)
def test_all_of_a_model_but_embeddings_and_head(bits: int) -> None:
    model = make_model("llama")
    count, before = parameter_count(model), model(torch.arange(8)[None]).logits
    quantise(model, bits, CPU)
    assert is_quantised(model) and parameter_count(model) == count
    assert type(model.lm_head) is torch.nn.Linear
    kinds = {type(m) for layer in model.model.layers for m in layer.modules()}
    assert FrozenLinear in kinds and torch.nn.Linear not in kinds
    after = model(torch.arange(8)[None]).logits
    assert not torch.equal(after, before)
    dequantise(model)
    assert not is_quantised(model)
    torch.testing.assert_close(model(torch.arange(8)[None]).logits, after)


def test_16_bits_change_nothing() -> None:
    model = make_model("llama")
    quantise(model, 16, CPU)
    assert not is_quantised(model)


def test_what_to_install_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[qlora\]'") as caught:
        quantise(make_model("llama"), 4, CPU)
    assert "\n" not in str(caught.value)
