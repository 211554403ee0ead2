"""The last layer's feed-forward part runs on the tokens that count alone, and nobody can tell."""

from typing import Any

import pytest
import torch

from mwalimu.finetune.execution import checkpoint_activations
from mwalimu.objectives.forward import Forward
from mwalimu.objectives.layers import HiddenTap
from mwalimu.objectives.trimming import feed_forward_of, last_layer, only_at
from tests.objectives.small import (
    assert_same_gradients,
    gradients,
    ids_of,
    positions_of,
    small_model,
    with_lora,
)

LENGTHS = (9, 5, 7)
ARCHITECTURES = ("llama", "qwen3", "phi3", "mistral", "gemma2", "gemma3_text", "gpt_neox", "gpt2")


def seen_by(module: torch.nn.Module) -> list[tuple[int, ...]]:
    """The shapes of what comes in."""
    shapes: list[tuple[int, ...]] = []
    module.register_forward_pre_hook(lambda _module, given: shapes.append(tuple(given[0].shape)))
    return shapes


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("lora", [False, True])
def test_logits_and_gradients_are_those_of_the_whole_model(arch: str, lora: bool) -> None:
    model = small_model(arch)
    model = with_lora(model) if lora and arch != "gpt2" else model
    ids_BT = ids_of(*LENGTHS)
    positions_N = positions_of(ids_BT, LENGTHS, 2)
    whole_NV = model(input_ids=ids_BT).logits.flatten(0, 1)[positions_N]
    whole_NV.sin().sum().backward()
    expected = gradients(model)
    model.zero_grad()
    forward, module = Forward(model), feed_forward_of(last_layer(model))
    assert module is not None
    shapes: list[Any] = []
    first = next(m for m in module.modules() if not list(m.children()) and list(m.parameters()))
    first.register_forward_pre_hook(lambda _module, given: shapes.append(given[0].shape[:2]))
    states = forward(ids_BT, positions_N)
    assert shapes == [(1, len(positions_N))]
    cap = None if states.head is None else states.head.soft_cap
    logits_NV = states.hidden_NX @ states.head.weight_VH.t() if states.head else states.hidden_NX
    if states.head is not None and states.head.bias_V is not None:
        logits_NV = logits_NV + states.head.bias_V
    logits_NV = logits_NV if cap is None else cap * torch.tanh(logits_NV / cap)
    torch.testing.assert_close(logits_NV, whole_NV, rtol=1e-4, atol=1e-5)
    logits_NV.sin().sum().backward()
    assert_same_gradients(gradients(model), expected, 3e-5)


def test_the_module_is_whole_again_outside() -> None:
    model = small_model()
    module, shapes = feed_forward_of(last_layer(model)), []
    assert module is not None
    shapes = seen_by(module)
    with pytest.raises(ZeroDivisionError), only_at(module, torch.tensor([1])):
        raise ZeroDivisionError
    model(input_ids=ids_of(6))
    assert shapes == [(1, 6, 32)]


def test_a_tap_on_the_last_layer_sees_what_it_would_see_without() -> None:
    model, ids_BT = small_model(), ids_of(*LENGTHS)
    positions_N = positions_of(ids_BT, LENGTHS, 2)
    forward, tap = Forward(model), HiddenTap(model, [2])
    with torch.no_grad():
        with tap.at(positions_N) as trimmed:
            forward(ids_BT, positions_N)
        with tap.at(positions_N) as whole:
            model(input_ids=ids_BT)
    torch.testing.assert_close(trimmed[2], whole[2])


def test_layers_that_run_twice_or_are_compiled_are_left_whole() -> None:
    model = small_model()
    assert feed_forward_of(last_layer(model)) is model.model.layers[2].mlp
    checkpoint_activations(model)  # leaves the last layer out
    assert feed_forward_of(last_layer(model)) is model.model.layers[2].mlp
    model.model.layers[2].gradient_checkpointing = True
    assert feed_forward_of(last_layer(model)) is None
    model = small_model()
    model.model.layers[2].compile(backend="eager")
    assert feed_forward_of(last_layer(model)) is None


class Mixing(torch.nn.Module):
    """A feed-forward part that is none: each token gets what its neighbour should have had."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return self.inner(hidden_BTH).roll(1, 1)


def test_a_part_that_mixes_tokens_is_found_out() -> None:
    model = small_model()
    model.model.layers[2].mlp = Mixing(model.model.layers[2].mlp)
    ids_BT, positions_N = ids_of(*LENGTHS), torch.tensor([3, 8, 12])
    whole_NV = model(input_ids=ids_BT).logits.flatten(0, 1)[positions_N]
    found_NV = Forward(model)(ids_BT, positions_N).logits()
    torch.testing.assert_close(found_NV, whole_NV)


def test_a_part_with_other_results_is_left_whole() -> None:
    model = small_model("gpt_oss")
    ids_BT, positions_N = ids_of(*LENGTHS), torch.tensor([3, 8, 12])
    whole_NV = model(input_ids=ids_BT).logits.flatten(0, 1)[positions_N]
    torch.testing.assert_close(Forward(model)(ids_BT, positions_N).logits(), whole_NV)
    with (
        pytest.raises(ValueError, match="other results"),
        only_at(model.model.layers[2].mlp, positions_N),
    ):
        model(input_ids=ids_BT)
