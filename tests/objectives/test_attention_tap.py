"""Taps on real attention: the maps are those of eager attention, and no whole map is made."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mwalimu.errors import ConfigError
from mwalimu.objectives.attention import ATTENTION_KINDS, attention_loss
from mwalimu.objectives.attention_tap import AttentionTap
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

LENGTHS = (11, 5, 8)
IDS_BT = ids_of(*LENGTHS)
POSITIONS_N = positions_of(IDS_BT, LENGTHS, 4)
PAIRS = ((0, 1), (2, 2))
"""(student layer, teacher layer)"""


def make_teacher(attention: str | None = None):
    return small_model(hidden=48, heads=6, key_heads=3, seed=5, attention=attention)


def transfer(student, teacher, kind="kl", *, ids_BT=IDS_BT, positions_N=POSITIONS_N):
    with AttentionTap(student, [s for s, _ in PAIRS]).at(positions_N) as ours:
        student(input_ids=ids_BT, use_cache=False)
    with torch.no_grad(), AttentionTap(teacher, [t for _, t in PAIRS]).at(positions_N) as theirs:
        teacher(input_ids=ids_BT, use_cache=False)
    students, teachers = [ours[s] for s, _ in PAIRS], [theirs[t] for _, t in PAIRS]
    return attention_loss(students, teachers, positions_N, kind, 0.125, chunk_scores=64)


def whole_maps(model, layer: int) -> torch.Tensor:
    """[N, T], of an eager model, averaged over heads."""
    maps_BATT = model(input_ids=IDS_BT, use_cache=False, output_attentions=True).attentions[layer]
    return maps_BATT.mean(1).flatten(0, 1)[POSITIONS_N]


def oracle_loss(student, teacher, kind: str) -> torch.Tensor:
    """Through autograd of whole maps."""
    total = 0.0
    for ours, theirs in PAIRS:
        q_NT, p_NT = whole_maps(student, ours), whole_maps(teacher, theirs).detach()
        p_NT = p_NT * (q_NT > 0)
        p_NT = p_NT / p_NT.sum(-1, keepdim=True)
        if kind == "kl":
            seen = p_NT > 0
            total += (p_NT[seen] * (p_NT[seen] / q_NT[seen]).log()).sum()
        else:
            total += (p_NT - q_NT).square().sum()
    return total / 8


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
@pytest.mark.parametrize(
    ("arch", "window"),
    [
        ("llama", None),
        ("qwen2", None),
        ("qwen3", None),
        ("gpt2", None),
        ("gemma2", 4),
        ("gemma3_text", 4),
    ],
)
def test_loss_and_gradients_are_those_of_whole_maps(arch: str, window, kind: str) -> None:
    student = small_model(arch, window=window)
    expected_model = small_model(arch, window=window, attention="eager")
    teacher = make_teacher()
    loss, _ = transfer(student, teacher, kind)
    loss.backward()
    expected = oracle_loss(expected_model, make_teacher("eager"), kind)
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=2e-4)
    assert_same_gradients(gradients(student), gradients(expected_model), 1e-3)


@pytest.mark.parametrize("arch", ["mistral", "phi3", "qwen2"])
@torch.no_grad()
def test_a_sliding_window_is_the_models(arch: str) -> None:
    """The longest row is longer than the window, so that the model makes a mask for it."""
    student = small_model(arch, window=3)
    loss, _ = transfer(student, make_teacher())
    eager = small_model(arch, window=3, attention="eager")
    expected = oracle_loss(eager, make_teacher("eager"), "kl")
    assert float(loss) == pytest.approx(float(expected), rel=2e-4)
    full, _ = transfer(small_model(arch), make_teacher())
    assert abs(float(full) - float(loss)) > 0.01


@torch.no_grad()
def test_a_tapped_model_computes_what_it_did() -> None:
    model = small_model()
    plain = model(input_ids=IDS_BT, use_cache=False).logits
    with AttentionTap(model, [0, 1, 2]).at(POSITIONS_N):
        tapped = model(input_ids=IDS_BT, use_cache=False).logits
    assert torch.equal(plain, tapped)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_taps_nest_and_leave_the_table_as_it_was(attention: str) -> None:
    before = dict(ALL_ATTENTION_FUNCTIONS)
    student, teacher = small_model(attention=attention), make_teacher(attention)
    with (
        AttentionTap(student, [0]).at(POSITIONS_N) as ours,
        AttentionTap(teacher, [1, 2]).at(POSITIONS_N) as theirs,
    ):
        student(input_ids=IDS_BT, use_cache=False)
        teacher(input_ids=IDS_BT, use_cache=False)
    assert ours.keys() == {0} and theirs.keys() == {1, 2}
    assert ours[0].query_NAD.shape == (12, 4, 8) and theirs[1].query_NAD.shape == (12, 6, 8)
    assert dict(ALL_ATTENTION_FUNCTIONS) == before


@torch.no_grad()
def test_a_second_pass_in_one_tap_is_not_taken() -> None:
    model = small_model()
    tap = AttentionTap(model, [1])
    with tap.at(POSITIONS_N) as once:
        model(input_ids=IDS_BT, use_cache=False)
    with tap.at(POSITIONS_N) as twice:
        model(input_ids=IDS_BT, use_cache=False)
        model(input_ids=ids_of(*LENGTHS, seed=1), use_cache=False)
    assert torch.equal(once[1].query_NAD, twice[1].query_NAD)
    assert torch.equal(once[1].key_BGTD, twice[1].key_BGTD)


@pytest.mark.parametrize("lora", [False, True])
def test_gradient_checkpointing_changes_nothing(lora: bool) -> None:
    student, teacher = small_model(), make_teacher()
    student = (with_lora(student) if lora else student).train()
    transfer(student, teacher)[0].backward()
    expected = gradients(student)
    student.zero_grad(set_to_none=True)
    checkpoint(student)
    transfer(student, teacher)[0].backward()
    assert_same_gradients(gradients(student), expected)


def test_reentrant_checkpointing_is_refused() -> None:
    student = small_model().train()
    checkpoint(student, reentrant=True)
    tap = AttentionTap(student, [0])  # it tries without gradients, so this goes well
    with pytest.raises(ConfigError, match="use_reentrant=False"), tap.at(POSITIONS_N):
        student(input_ids=IDS_BT, use_cache=False)


def test_micro_batches_add_up_to_the_padded_batch() -> None:
    student, teacher = small_model(), make_teacher()
    loss, sums_P = transfer(student, teacher)
    loss.backward()
    expected = gradients(student)
    student.zero_grad(set_to_none=True)
    added_P = torch.zeros(2)
    for row, length in enumerate(LENGTHS):
        alone, alone_P = transfer(
            student,
            teacher,
            ids_BT=IDS_BT[row : row + 1, :length],
            positions_N=torch.arange(length - 4, length),
        )
        alone.backward()
        added_P += alone_P
    assert_close(added_P, sums_P)
    assert_same_gradients(gradients(student), expected, 1e-4)


@pytest.mark.parametrize(
    ("arch", "attention", "line"),
    [
        ("gpt_oss", "eager", "layer 0 of GptOssForCausalLM is not a plain softmax over keys"),
        ("bloom", None, "layer 0 of BloomForCausalLM does not go through transformers' own"),
    ],
)
def test_other_attention_is_refused(arch: str, attention, line: str) -> None:
    model = small_model(arch, attention=attention)
    with pytest.raises(ConfigError, match=line):
        AttentionTap(model, [0])


class Largest(TorchDispatchMode):
    """Remembers the greatest number of elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_map_of_a_model_is_made() -> None:
    """Forward, loss and backward; what is kept of a layer is small too."""
    tokens, heads = 96, 4
    ids_BT = ids_of(tokens, tokens)
    positions_N = positions_of(ids_BT, (tokens, tokens), 60)
    student, teacher = small_model(key_heads=heads), small_model(key_heads=heads, seed=7)
    with Largest() as largest:
        loss, _ = transfer(student, teacher, ids_BT=ids_BT, positions_N=positions_N)
        loss.backward()
    assert largest.elements < heads * tokens * tokens // 2
    assert loss.isfinite()
