"""What processes tell each other, and how they end together."""

import math
from pathlib import Path

import pytest
import torch

from mwalimu.errors import ConfigError, TrainingError
from mwalimu.finetune.parallel import world
from mwalimu.finetune.parallel.world import ALONE, World, joined
from tests.finetune.parallel.ranks import on_ranks
from tests.finetune.parallel.work import tell_each_other


def test_processes_tell_each_other_and_fail_together(tmp_path: Path) -> None:
    found = on_ranks(3, tell_each_other, tmp_path)
    assert [own["rank and size"] for own in found] == [(0, 3, True), (1, 3, False), (2, 3, False)]
    for own in found:
        assert own["short"] == [{"rank": rank, "π": math.pi} for rank in range(3)]
        assert own["long"] == [5000, 10, 10]
        assert own["infinite"] == [-math.inf, math.inf, math.inf]
        assert own["total"] == [3, {"a": 2.0, "b": 0}]
        assert own["any"] == (True, False)
        assert own["from main"] == 7
        assert own["agreed"] == ("TooFewAnswers", "here: too few; ask again")
        assert own["from main fails"] == ("DiskFull", "disk: no space; free some")
    assert [own["there before"] for own in found] == [False, True, True]


def test_one_process_is_a_world_that_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.distributed, "all_gather", None)
    with joined() as alone, alone.agreed(), alone.main_first():
        assert alone is ALONE and alone.main and not torch.distributed.is_initialized()
        given = object()
        assert alone.gather(given) == [given] and alone.from_main(lambda: given) is given
        assert alone.total({"a": 0.1}) == {"a": 0.1} and not alone.any(False)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match=r"process 3 of this machine finds 2 GPUs.*per-node 2"),
        joined(),
    ):
        pass


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection reset by peer"), True),
        (torch.distributed.DistBackendError("NCCL communicator was aborted"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_lost_process_is_told_in_one_line(raised: RuntimeError, told: bool) -> None:
    kind = TrainingError if told else RuntimeError
    text = "another process of this training ended; its own message" if told else "cannot be multi"
    with pytest.raises(kind, match=text), world._lost_peers():
        raise raised


def test_sums_are_the_same_to_the_bit_in_every_process() -> None:
    """They are taken in the order of ranks: 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1."""
    assert world._sum([0.1, 0.2, 0.3]) == 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert World(1, 2) != World(0, 2)
