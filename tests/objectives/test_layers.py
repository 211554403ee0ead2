"""Layer maps, and taps that give what transformers itself gives, at the chosen positions alone."""

import pytest
import torch

from mwalimu.errors import ConfigError
from mwalimu.objectives.layers import HiddenTap, decoder_layers, map_layers, rows_at
from tests.objectives.small import (
    assert_close,
    assert_same_gradients,
    checkpoint,
    gradients,
    ids_of,
    positions_of,
    small_model,
    with_lora,
)

ARCHITECTURES = ("llama", "qwen2", "qwen3", "phi3", "mistral", "gemma2", "gemma3_text", "gpt2")
LENGTHS = (9, 5, 7)


@pytest.mark.parametrize(
    ("chosen", "student", "teacher", "pairs"),
    [
        ("uniform", 2, 4, [(0, 1), (1, 3)]),
        ("uniform", 3, 3, [(0, 0), (1, 1), (2, 2)]),
        ("uniform", 3, 32, [(0, 10), (1, 20), (2, 31)]),
        ("uniform", 4, 2, [(0, 0), (1, 0), (2, 1), (3, 1)]),  # halves go up
        ("uniform", 6, 1, [(i, 0) for i in range(6)]),
        ("last", 24, 32, [(23, 31)]),
        (1, 24, 32, [(23, 31)]),
        (4, 24, 32, [(5, 7), (11, 15), (17, 23), (23, 31)]),
        ([[0, 3], [-1, -1]], 2, 8, [(0, 3), (1, 7)]),
        ([[1, 0], [1, 2]], 2, 8, [(1, 0), (1, 2)]),
    ],
)
def test_map(chosen, student, teacher, pairs) -> None:
    assert list(map_layers(chosen, student, teacher)) == pairs


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        ("even", "no such layer map: even"),
        (0, "cannot spread 0 layer pairs over the student's 2 layers; ask for 1 to 2"),
        (3, "cannot spread 3 layer pairs"),
        ([], "there are no layer pairs"),
        ([[0]], r"\[0\] is no layer pair"),
        ([[2, 0]], "the student has no layer 2; it has 0 to 1, -1 is the last"),
        ([[0, -5]], "the teacher has no layer -5; it has 0 to 3"),
        ([[1, 3], [-1, -1]], r"the layer pair \[1, 3\] is there twice"),
    ],
)
def test_a_wrong_map_is_named(chosen, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        map_layers(chosen, 2, 4)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@torch.no_grad()
def test_states_are_those_of_transformers(arch: str) -> None:
    model = small_model(arch)
    ids_BT = ids_of(*LENGTHS)
    positions_N = positions_of(ids_BT, LENGTHS, 3)
    with HiddenTap(model, [0, 1, 2]).at(positions_N) as states:
        model(input_ids=ids_BT, use_cache=False)
    oracle = model(input_ids=ids_BT, use_cache=False, output_hidden_states=True).hidden_states
    for layer in (0, 1):
        assert torch.equal(states[layer], oracle[layer + 1].flatten(0, 1)[positions_N])
    # The oracle's last entry is behind the final norm, ours before it.
    decoder = model.get_decoder()
    norm = decoder.ln_f if arch == "gpt2" else decoder.norm
    torch.testing.assert_close(norm(states[2]), oracle[3].flatten(0, 1)[positions_N])


@torch.no_grad()
def test_nothing_of_the_size_of_all_tokens_is_kept() -> None:
    model, ids_BT = small_model(), ids_of(40, 40)
    positions_N = torch.tensor([3, 70])
    with HiddenTap(model, [1]).at(positions_N) as states:
        model(input_ids=ids_BT, use_cache=False)
    assert states[1].untyped_storage().nbytes() == 2 * 32 * 4


def test_gradients_are_those_through_output_hidden_states() -> None:
    model, ids_BT = small_model(), ids_of(*LENGTHS)
    positions_N = positions_of(ids_BT, LENGTHS, 3)
    oracle = model(input_ids=ids_BT, use_cache=False, output_hidden_states=True).hidden_states
    sum(oracle[i].flatten(0, 1)[positions_N].sin().sum() for i in (1, 2)).backward()
    expected = gradients(model)
    assert_same_gradients(_tapped_gradients(model, ids_BT, positions_N), expected)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_gradient_checkpointing_changes_nothing(lora: bool, inside: bool) -> None:
    """Its second pass runs in the backward pass, with the tap still there or taken off."""
    model = small_model()
    model = with_lora(model) if lora else model
    model.train()
    ids_BT = ids_of(*LENGTHS)
    positions_N = positions_of(ids_BT, LENGTHS, 3)
    expected = _tapped_gradients(model, ids_BT, positions_N)
    checkpoint(model)
    assert_same_gradients(_tapped_gradients(model, ids_BT, positions_N, inside=inside), expected)


def test_a_layer_that_hides_its_gradient_is_refused() -> None:
    model = small_model()
    with (
        pytest.raises(ConfigError, match="use_reentrant=False"),
        HiddenTap(model, [1]).at(torch.tensor([3])),
        torch.no_grad(),
    ):
        model(input_ids=ids_of(6), use_cache=False)


@torch.no_grad()
def test_padding_and_neighbours_change_nothing() -> None:
    model, ids_BT = small_model(), ids_of(*LENGTHS)
    tap = HiddenTap(model, [0, 2])
    with tap.at(positions_of(ids_BT, LENGTHS, 3)) as together:
        model(input_ids=ids_BT, use_cache=False)
    for row, length in enumerate(LENGTHS):
        with tap.at(torch.arange(length - 3, length)) as alone:
            model(input_ids=ids_BT[row : row + 1, :length], use_cache=False)
        for layer in (0, 2):
            assert_close(alone[layer], together[layer][3 * row : 3 * row + 3])


def test_a_second_pass_in_one_tap_is_not_taken() -> None:
    model, positions_N = small_model(), torch.tensor([2])
    tap = HiddenTap(model, [1])
    with torch.no_grad(), tap.at(positions_N) as once:
        model(input_ids=ids_of(4), use_cache=False)
    with torch.no_grad(), tap.at(positions_N) as twice:
        model(input_ids=ids_of(4), use_cache=False)
        model(input_ids=ids_of(4, seed=1), use_cache=False)
    assert torch.equal(once[1], twice[1])


def test_a_layer_that_did_not_run_is_named() -> None:
    with (
        pytest.raises(ConfigError, match="layer 1 of LlamaForCausalLM gives no states"),
        HiddenTap(small_model(), [1]).at(torch.tensor([0])),
    ):
        pass


def test_a_failing_model_shows_its_own_error() -> None:
    with pytest.raises(ZeroDivisionError), HiddenTap(small_model(), [1]).at(torch.tensor([0])):
        raise ZeroDivisionError


def test_layers_are_found_under_lora_and_their_lack_is_told() -> None:
    model = small_model()
    layers = decoder_layers(model)
    assert decoder_layers(with_lora(model)) is layers
    model.config.num_hidden_layers = 7
    with pytest.raises(ConfigError, match="the 7 layers of LlamaForCausalLM were not found"):
        decoder_layers(model)


def test_rows_at_is_differentiable_and_takes_a_position_twice() -> None:
    states_BTX = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    positions_N = torch.tensor([5, 0, 5])
    assert torch.equal(rows_at(states_BTX, positions_N), states_BTX.flatten(0, 1)[positions_N])
    assert torch.autograd.gradcheck(lambda x: rows_at(x, positions_N), (states_BTX,))


def _tapped_gradients(model, ids_BT, positions_N, *, inside: bool = False):
    model.zero_grad(set_to_none=True)
    with HiddenTap(model, [0, 1]).at(positions_N) as states:
        logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
        if inside:
            _loss(states, logits_BTV).backward()
    if not inside:
        _loss(states, logits_BTV).backward()
    return gradients(model)


def _loss(states, logits_BTV):
    return sum(state.sin().sum() for state in states.values()) + 0 * logits_BTV.sum()
