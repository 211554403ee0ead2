"""The objective of a batch, against losses of whole logits in float64."""

import copy
from typing import Any

import pytest
import torch

from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.teaching import Teaching, accumulate
from tests.finetune.models import ARCHITECTURES, make_model, make_rows, to_batches


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
    teaching = Teaching(model)
    nats, expected = reference(model, rows)
    tokens = sum(row.targets for row in rows)
    for size in (10, 3, 1):
        model.zero_grad()
        found = accumulate(teaching, to_batches(rows, size))
        assert float(found.sums["cross_entropy"]) == pytest.approx(nats, rel=1e-5)
        assert float(found.loss) == pytest.approx(nats / tokens, rel=1e-5)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(
                parameter.grad.double(), expected[name], rtol=1e-4, atol=1e-6
            )
