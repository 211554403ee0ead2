"""Log-probabilities and gradients against numpy in float64, differences and plain autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mwalimu.objectives.head import Head
from mwalimu.objectives.token_logprobs import token_logprobs
from tests.objectives.heads import (
    HIDDEN,
    MAKES,
    largest_tensor,
    make_head,
    numpy_logits,
    numpy_softmax,
    parameters,
    three_tokens_a_chunk,
)

LABELS = torch.tensor([0, 8, 3, 3, 7, 1, 2])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    three_tokens_a_chunk(monkeypatch)


def states(kind: torch.dtype = torch.float64, tokens: int = 7) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(tokens, HIDDEN, dtype=torch.float64).to(kind).requires_grad_()


def reference(hidden: torch.Tensor, head: Head | None, labels: torch.Tensor) -> np.ndarray:
    q = numpy_softmax(numpy_logits(hidden, head))
    return np.asarray(np.log(q[np.arange(len(labels)), labels.numpy()]))


@pytest.mark.parametrize("make", MAKES)
def test_values_and_gradients(make: str) -> None:
    head, hidden = make_head(make), states()
    value = token_logprobs(hidden, head, LABELS)
    np.testing.assert_allclose(value.detach().numpy(), reference(hidden, head, LABELS), rtol=1e-12)

    def by_parts(hidden_NH: torch.Tensor, *own: torch.Tensor) -> torch.Tensor:
        bias = own[1] if len(own) > 1 else None
        return token_logprobs(hidden_NH, replace(head, weight_VH=own[0], bias_V=bias), LABELS)

    assert torch.autograd.gradcheck(by_parts, (hidden, *parameters(head)))


def test_without_a_head_the_states_are_logits() -> None:
    logits = torch.randn(7, 9, dtype=torch.float64).requires_grad_()
    value = token_logprobs(logits, None, LABELS)
    np.testing.assert_allclose(value.detach().numpy(), reference(logits, None, LABELS), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: token_logprobs(x, None, LABELS), (logits,))


@pytest.mark.parametrize("states_kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weight_kind", [torch.float32, torch.bfloat16])
def test_half_precision_in_and_out_and_float32_between(
    states_kind: torch.dtype, weight_kind: torch.dtype
) -> None:
    head, hidden = make_head("bias", kind=weight_kind), states(states_kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which the function does not follow
        value = token_logprobs(hidden, head, LABELS)
    assert value.dtype == torch.float32
    half = torch.bfloat16 in (states_kind, weight_kind)
    np.testing.assert_allclose(
        value.detach().numpy(), reference(hidden, head, LABELS), rtol=0, atol=0.05 if half else 1e-6
    )
    value.sum().backward()
    assert hidden.grad is not None and hidden.grad.dtype == states_kind
    for parameter in parameters(head):
        assert parameter.grad is not None and parameter.grad.dtype == weight_kind


def test_weight_gradients_of_many_chunks_are_summed_in_float32() -> None:
    head = Head(torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True))
    hidden = torch.ones(3000, 1, dtype=torch.bfloat16)
    labels = torch.zeros(3000, dtype=torch.long)
    token_logprobs(hidden, head, labels).sum().backward()
    assert head.weight_VH.grad is not None
    # Half a label each, three tokens a chunk: a sum in bfloat16 would stop at 512.
    assert float(head.weight_VH.grad[0]) == pytest.approx(1500, rel=0.01)


def test_a_nearly_certain_label_keeps_its_digits() -> None:
    logits = torch.tensor([[90.0, 90.0 - 14.0]])
    value = token_logprobs(logits, None, torch.tensor([0]))
    assert float(value) == pytest.approx(-np.log1p(np.exp(-14.0)), rel=0.05)


def test_nothing_is_done_for_what_is_frozen() -> None:
    head, hidden = make_head("bias"), states()
    for parameter in parameters(head):
        parameter.requires_grad_(False)
    token_logprobs(hidden, head, LABELS).sum().backward()
    assert hidden.grad is not None
    assert all(parameter.grad is None for parameter in parameters(head))
    head = make_head("bias")
    token_logprobs(hidden.detach(), head, LABELS).sum().backward()
    assert all(parameter.grad is not None for parameter in parameters(head))


@pytest.mark.parametrize("frozen", [False, True])
def test_no_tensor_is_as_large_as_the_logits(frozen: bool) -> None:
    tokens, vocabulary = 60, 50
    weight = torch.randn(vocabulary, HIDDEN).requires_grad_(not frozen)
    hidden = torch.randn(tokens, HIDDEN).requires_grad_()
    labels = torch.randint(vocabulary, (tokens,))
    with largest_tensor() as largest:
        token_logprobs(hidden, Head(weight), labels).sum().backward()
    assert largest.numbers <= max(tokens * HIDDEN, vocabulary * HIDDEN)


def test_no_tokens_and_no_gradient() -> None:
    head, hidden = make_head("bias"), states(tokens=0)
    value = token_logprobs(hidden, head, LABELS[:0])
    value.sum().backward()
    assert value.shape == (0,) and hidden.grad is not None
    assert head.weight_VH.grad is not None and not head.weight_VH.grad.any()
    with torch.no_grad():
        assert not token_logprobs(states(), head, LABELS).requires_grad
