"""Which way a student is spread, and sums of gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mwalimu.data.tokenize import Encoded
from mwalimu.errors import ConfigError
from mwalimu.finetune.parallel import strategy
from mwalimu.finetune.parallel.replicas import Replicas
from mwalimu.finetune.parallel.strategy import clip_norm, state_bytes, strategy_of
from mwalimu.finetune.parallel.world import ALONE, World
from tests.finetune.jobs import settings
from tests.finetune.models import make_model, make_rows
from tests.finetune.parallel.ranks import on_ranks
from tests.finetune.parallel.work import hold_shares, sum_gradients, teach_in_bfloat16


def test_gradients_are_sums_and_what_nobody_reached_has_none() -> None:
    found = on_ranks(2, sum_gradients)
    assert found[0] == found[1] == [[6.0, 6.0], [10.0, 10.0], None]


def test_a_share_is_all_that_a_process_holds_between_uses() -> None:
    for found in on_ranks(2, hold_shares):
        assert all(found.values()), found


def test_shares_are_put_together_in_half_precision_as_a_gpu_has_them() -> None:
    """bfloat16 has 8 bits: the states between layers have them too here, unlike under autocast."""
    model, rows = make_model(), make_rows(8)
    exact = sum(
        model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([labels_of(row)])).loss.item()
        * row.targets
        for row in rows
    ) / sum(row.targets for row in rows)
    for loss, far in on_ranks(2, teach_in_bfloat16):
        assert loss == pytest.approx(exact, rel=5e-3) and far < 0.05


def labels_of(row: Encoded) -> list[int]:
    return [i if on else -100 for i, on in zip(row.ids, row.labels_mask, strict=True)]


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What is chosen in a world of two."""
    monkeypatch.setattr(strategy, "Shards", lambda *_, **__: "shards")
    monkeypatch.setattr(strategy, "Replicas", lambda *_: "replicas")

    def choose(model: Any, world: World = World(0, 2), **changes: Any) -> str:  # noqa: B008
        return str(strategy_of(settings(**changes), model, model, world, autocast=False))

    return choose


def test_auto_cuts_what_has_no_room(
    chosen: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    assert chosen(model) == chosen(model, parallel="ddp") == "replicas"
    assert chosen(model, parallel="fsdp") == "shards"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    size = state_bytes(model)
    assert size == 16 * sum(p.numel() for p in model.parameters())  # float32: weights, grads, two
    for memory, expected in ((2 * size + 2, "replicas"), (2 * size - 2, "shards")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda memory=memory: (0, memory))
        assert chosen(model) == expected
    assert chosen(model, optimiser="adamw_8bit") == "replicas"
    assert chosen(model, world=ALONE, parallel="fsdp") == "replicas"


def test_what_cannot_be_cut_is_told(chosen: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match=r"finetune.parallel: adamw_8bit keeps .*; use ddp"):
        chosen(make_model(), parallel="fsdp", optimiser="adamw_8bit")
    with pytest.raises(ConfigError, match="what learns is in float32"):
        chosen(make_model().bfloat16(), parallel="fsdp")


def test_one_process_sums_nothing() -> None:
    model = make_model()
    alone = Replicas(list(model.parameters()), ALONE)
    assert not alone.buckets
    alone.backward(alone.run(lambda: sum(p.square().sum() for p in model.parameters())), last=True)
    expected = torch.sqrt(sum((2 * p.detach()).square().sum() for p in model.parameters()))
    norm = clip_norm(model.parameters(), 0.5)
    assert norm == pytest.approx(float(expected), rel=1e-5)
    assert clip_norm(model.parameters(), 9.0) == pytest.approx(0.5, rel=1e-4)


def test_buckets_hold_neighbours_of_one_type(monkeypatch: pytest.MonkeyPatch) -> None:
    from mwalimu.finetune.parallel import replicas

    monkeypatch.setattr(replicas, "BUCKET_BYTES", 100)
    kinds = [torch.float32] * 4 + [torch.bfloat16] * 2 + [torch.float32]
    parameters = [torch.nn.Parameter(torch.zeros(10, dtype=kind)) for kind in kinds]
    found = [len(bucket) for bucket in replicas._in_buckets(parameters)]
    assert found == [2, 2, 2, 1]
