"""Logits and gradients, against plain cross-entropy of whole logits in float64."""

import copy
import random
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.batches import Batch, collate
from mwalimu.finetune.step import TargetLogits, accumulate, batch_term

VOCABULARY = 50
ARCHITECTURES = ("llama", "phi3", "qwen2", "gemma2")


def make_model(arch: str = "llama") -> Any:
    config = AutoConfig.for_model(
        arch,
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def make_rows(count: int) -> list[Encoded]:
    rng = random.Random(0)
    rows = []
    for _ in range(count):
        prompt, answer = rng.randrange(1, 20), rng.randrange(1, 6)
        ids = [rng.randrange(VOCABULARY) for _ in range(prompt + answer)]
        rows.append(Encoded(ids, [False] * prompt + [True] * answer))
    return rows


def to_batches(rows: list[Encoded], size: int) -> list[Batch]:
    starts = range(0, len(rows), size)
    cpu = torch.device("cpu")
    return [collate(rows[start : start + size], pad_id=0, device=cpu) for start in starts]


def reference(model: Any, rows: list[Encoded]) -> tuple[float, dict[str, torch.Tensor]]:
    """(sum of nats, gradient of the mean): float64, a row at a time, no padding, no torch loss."""
    exact = copy.deepcopy(model).double().eval()
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        logits_TV = exact(input_ids=torch.tensor([row.ids])).logits[0].double()
        for position in range(1, len(row.ids)):
            if row.labels_mask[position]:
                scores_V = logits_TV[position - 1]
                total = total + torch.log(scores_V.exp().sum()) - scores_V[row.ids[position]]
                tokens += 1
    (total / tokens).backward()
    return total.item(), {name: p.grad for name, p in exact.named_parameters()}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_accumulated_gradients_are_those_of_one_big_batch(arch: str) -> None:
    model, rows = make_model(arch), make_rows(10)
    logits = TargetLogits(model)
    nats, expected = reference(model, rows)
    for size in (10, 3, 1):
        model.zero_grad()
        sums = accumulate(logits, to_batches(rows, size))
        assert float(torch.stack(sums).sum()) == pytest.approx(nats, rel=1e-5)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(
                parameter.grad.double(), expected[name], rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_compact_head_gives_the_whole_logits(arch: str) -> None:
    model = make_model(arch)
    logits = TargetLogits(model)
    assert logits.compact
    with torch.no_grad():  # large enough for a soft cap to bite
        model.get_input_embeddings().weight.mul_(100)
        model.get_output_embeddings().weight.mul_(20)
    batch = to_batches(make_rows(6), 6)[0]
    whole_NV = model(input_ids=batch.ids_BT).logits.flatten(0, 1)[batch.positions_N]
    compact_NV = logits(batch)
    torch.testing.assert_close(compact_NV, whole_NV, rtol=1e-4, atol=1e-4)
    assert whole_NV.abs().max() > 5


def test_a_hook_does_not_stay_behind() -> None:
    model = make_model()
    batch = to_batches(make_rows(2), 2)[0]
    TargetLogits(model)(batch)
    assert model(input_ids=batch.ids_BT).logits.shape[:2] == batch.ids_BT.shape


class Stubborn(torch.nn.Module):
    """Its logits do not come from the module that is called its decoder."""

    base_model_prefix = "decoder"

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_model()
        self.decoder = torch.nn.Identity()
        self.device = self.inner.device
        self.get_input_embeddings = self.inner.get_input_embeddings

    def forward(self, **options: Any) -> Any:
        return self.inner(**options)


def test_a_model_that_cannot_be_cut_runs_whole() -> None:
    model = Stubborn()
    logits = TargetLogits(model)
    batch = to_batches(make_rows(3), 3)[0]
    whole_NV = model.inner(input_ids=batch.ids_BT).logits.flatten(0, 1)[batch.positions_N]
    assert not logits.compact
    torch.testing.assert_close(logits(batch), whole_NV)


def test_bfloat16_and_autocast_keep_the_compact_head() -> None:
    assert TargetLogits(make_model().bfloat16()).compact
    logits = TargetLogits(make_model(), autocast=True)
    assert logits.compact
    batch = to_batches(make_rows(2), 2)[0]
    assert logits(batch).dtype == torch.bfloat16
    assert batch_term(logits, batch).sum_nats.dtype == torch.float32


def test_trying_leaves_the_model_and_the_generator_alone() -> None:
    model = make_model().train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TargetLogits(model)
    assert model.training and torch.equal(torch.rand(3), expected)


def test_attention_gets_no_mask_and_so_its_causal_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, Any]] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def spy(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append((options.get("attn_mask"), options.get("is_causal")))
        return attention(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    TargetLogits(make_model())(to_batches(make_rows(4), 4)[0])
    assert calls and set(calls) == {(None, True)}
