"""States at the target positions, against the logits of the whole model."""

from typing import Any

import pytest
import torch

from mwalimu.data.collate import Batch
from mwalimu.objectives.forward import Forward
from tests.finetune.models import ARCHITECTURES, make_model, make_rows, to_batches


def logits_of(forward: Forward, batch: Batch) -> torch.Tensor:
    return forward(batch.ids_BT, batch.positions_N).logits()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_states_and_head_give_the_whole_logits(arch: str) -> None:
    model = make_model(arch)
    forward = Forward(model)
    assert forward.fused
    with torch.no_grad():  # large enough for a soft cap to bite
        model.get_input_embeddings().weight.mul_(100)
        model.get_output_embeddings().weight.mul_(20)
    batch = to_batches(make_rows(6), 6)[0]
    whole_NV = model(input_ids=batch.ids_BT).logits.flatten(0, 1)[batch.positions_N]
    found_NV = logits_of(forward, batch)
    torch.testing.assert_close(found_NV, whole_NV, rtol=1e-4, atol=1e-4)
    assert whole_NV.abs().max() > 5


def test_a_hook_does_not_stay_behind() -> None:
    model = make_model()
    batch = to_batches(make_rows(2), 2)[0]
    forward = Forward(model)
    forward._compact({"input_ids": batch.ids_BT}, batch.positions_N)
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
    forward = Forward(model)
    batch = to_batches(make_rows(3), 3)[0]
    whole_NV = model.inner(input_ids=batch.ids_BT).logits.flatten(0, 1)[batch.positions_N]
    assert not forward.fused
    torch.testing.assert_close(logits_of(forward, batch), whole_NV)


def test_bfloat16_and_autocast_keep_the_head_apart() -> None:
    assert Forward(make_model().bfloat16()).fused
    forward = Forward(make_model(), autocast=True)
    assert forward.fused
    batch = to_batches(make_rows(2), 2)[0]
    assert forward(batch.ids_BT, batch.positions_N).hidden_NX.dtype == torch.bfloat16
    assert logits_of(forward, batch).dtype == torch.float32


def test_trying_leaves_the_model_and_the_generator_alone() -> None:
    model = make_model().train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Forward(model)
    assert model.training and torch.equal(torch.rand(3), expected)


def test_attention_gets_no_mask_and_so_its_causal_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, Any]] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def spy(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append((options.get("attn_mask"), options.get("is_causal")))
        return attention(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    logits_of(Forward(make_model()), to_batches(make_rows(4), 4)[0])
    assert calls and set(calls) == {(None, True)}
