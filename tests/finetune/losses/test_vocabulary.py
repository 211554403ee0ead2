"""Losses over the vocabulary through the whole of `Teaching`, against whole logits in float64."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.teaching import accumulate
from mwalimu.objectives.targets import SampledTarget
from tests.finetune import exact
from tests.finetune.exact import Seen
from tests.finetune.taught import Pair, Taught, config_of, make_pair, taught

LIVE = {"teacher": "live"}
DENSE = {"encoding": "dense"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


def check(
    one: Taught,
    loss_of: Callable[[Seen, Encoded], torch.Tensor],
    *,
    progress: float = 0.0,
    tolerance: float = 1e-4,
) -> None:
    """Whatever the micro-batches, the gradient is that of the mean over all tokens."""
    value, expected = exact.gradients(one.model, one.encoded, loss_of)
    for size in (len(one.encoded), 5, 1):
        one.model.zero_grad()
        taken = accumulate(one.teaching, one.batches(size), progress)
        assert float(taken.loss) == pytest.approx(value, rel=tolerance)
        exact.compare(one.model, expected, tolerance)


class Exact:
    """The teacher in float64."""

    def __init__(self, pair: Pair) -> None:
        self.model = exact.load(pair.teacher)
        self.seen: dict[bytes, torch.Tensor] = {}

    def logits(self, row: Encoded) -> torch.Tensor:
        """[n, V], of a row as the student encodes it: both have the same template here."""
        if row.key not in self.seen:
            with torch.no_grad():
                self.seen[row.key] = exact.see(self.model, row).logits_nV
        return self.seen[row.key]

    def confidence(self, row: Encoded) -> float:
        p_nV = self.logits(row).softmax(1)
        return float(p_nV[torch.arange(len(p_nV)), exact.labels_of(row)].mean())


@pytest.fixture(scope="module")
def teacher(pair: Pair) -> Exact:
    return Exact(pair)


SEVERAL = [
    {"kind": "forward_kl", "weight": 0.7, "temperature": 2.0},
    {"kind": "reverse_kl", "weight": 0.3},
    {"kind": "jsd", "beta": 0.3, "temperature": 2.0, "square": False},
    {"kind": "cross_entropy", "weight": 0.5},
    {"kind": "cross_entropy", "weight": 0.1, "temperature": 3.0},
]


def several(teacher: Exact) -> Callable[[Seen, Encoded], torch.Tensor]:
    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        z_p, z_q = teacher.logits(row), seen.logits_nV
        p, q, p2, q2 = (z.softmax(1) for z in (z_p, z_q, z_p / 2, z_q / 2))
        middle = 0.3 * p2 + 0.7 * q2
        jsd_n = 0.3 * exact.kl(p2, middle) + 0.7 * exact.kl(q2, middle)
        over_n = 0.7 * 4 * exact.kl(p2, q2) + 0.3 * exact.kl(q, p) + jsd_n
        texts = 0.5 * exact.cross_entropy(seen, row) + 0.9 * exact.cross_entropy(seen, row, 3.0)
        return over_n.sum() + texts

    return loss_of


def test_several_at_once_beside_a_live_teacher(tmp_path: Path, pair: Pair, teacher: Exact) -> None:
    one = taught(tmp_path, config_of(pair, SEVERAL, finetune=LIVE))
    check(one, several(teacher))


def test_several_at_once_out_of_a_dense_cache(tmp_path: Path, pair: Pair, teacher: Exact) -> None:
    """Its numbers are halves: half a thousandth each."""
    one = taught(tmp_path, config_of(pair, SEVERAL, signals=DENSE))
    check(one, several(teacher), tolerance=4e-3)


def test_the_best_tokens_and_one_for_all_others(tmp_path: Path, pair: Pair, teacher: Exact) -> None:
    objective = [{"kind": "reverse_kl", "temperature": 1.5}, "forward_kl"]
    objective[1] = {"kind": "forward_kl", "temperature": 1.5, "weight": 2.0}
    signals = {"encoding": "topk", "k": 6, "top_p": 0.9}
    one = taught(tmp_path, config_of(pair, objective, signals=signals))

    def grouped(z_nV: torch.Tensor, ids_nK: torch.Tensor, row_sizes: list[int]) -> torch.Tensor:
        p_nV = (z_nV / 1.5).softmax(1)
        rows = []
        for p_V, ids_K, size in zip(p_nV, ids_nK, row_sizes, strict=True):
            best = p_V[ids_K[:size]]
            rest = p_V.sum() - best.sum()
            rows.append(torch.cat([best, rest[None], best.new_zeros(6 - size)]))
        return torch.stack(rows)

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        z_nV = teacher.logits(row)
        p_nK, ids_nK = (z_nV / 1.5).softmax(1).topk(6)
        sizes = ((p_nK.cumsum(1) - p_nK) < 0.9).sum(1).tolist()
        p, q = grouped(z_nV, ids_nK, sizes), grouped(seen.logits_nV, ids_nK, sizes)
        there = p > 0
        safe_p, safe_q = torch.where(there, p, 1.0), torch.where(there, q, 1.0)
        forward = (p * (safe_p / safe_q).log()).sum()
        backward = (safe_q * there * (safe_q / safe_p).log()).sum()
        return 2.25 * (backward + 2 * forward)

    check(one, loss_of, tolerance=4e-3)


@pytest.mark.parametrize("cached", [False, True])
def test_weights_and_temperatures_that_go_by_the_row(
    tmp_path: Path, pair: Pair, teacher: Exact, cached: bool
) -> None:
    """A random teacher is sure of nothing, so the schedules are steep."""
    weight = {"start": 0.2, "end": 40.0, "shape": "per_sample"}
    temperature = {"start": 1.0, "end": 61.0, "shape": "per_sample"}
    objective = [
        {"kind": "forward_kl", "weight": weight, "temperature": temperature},
        {"kind": "cross_entropy", "weight": {"start": 1.0, "end": 0.0, "shape": "per_sample"}},
    ]
    sections: dict[str, Any] = {"signals": DENSE} if cached else {"finetune": LIVE}
    one = taught(tmp_path, config_of(pair, objective, **sections))

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        sure = teacher.confidence(row)
        tau = 1 + 60 * sure
        p, q = (teacher.logits(row) / tau).softmax(1), (seen.logits_nV / tau).softmax(1)
        divergence = tau**2 * exact.kl(p, q).sum()
        return (0.2 + 39.8 * sure) * divergence + (1 - sure) * exact.cross_entropy(seen, row)

    sure = [teacher.confidence(row) for row in one.encoded]
    assert max(sure) > 10 * min(sure)
    check(one, loss_of, tolerance=4e-3 if cached else 1e-4)


def test_schedules_are_read_at_the_progress_of_the_step(
    tmp_path: Path, pair: Pair, teacher: Exact
) -> None:
    objective = [
        {"kind": "reverse_kl", "temperature": {"start": 1.0, "end": 3.0}},
        {"kind": "cross_entropy", "weight": {"start": 0.0, "end": 2.0, "over": 0.5}},
    ]
    one = taught(tmp_path, config_of(pair, objective))

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        p, q = (teacher.logits(row) / 1.5).softmax(1), (seen.logits_nV / 1.5).softmax(1)
        return 2.25 * exact.kl(q, p).sum() + exact.cross_entropy(seen, row)

    check(one, loss_of, progress=0.25)


def test_draws_stand_for_the_distribution(tmp_path: Path, pair: Pair, teacher: Exact) -> None:
    objective = {"kind": "forward_kl", "temperature": 1.5}
    one = taught(tmp_path, config_of(pair, objective, signals={"encoding": "sampled", "draws": 64}))
    shares: dict[bytes, torch.Tensor] = {}
    off = expected = 0.0
    for index, row in enumerate(one.encoded):
        target = one.source.look(one.batch(index)).target
        assert isinstance(target, SampledTarget)
        p_nV = (teacher.logits(row) / 1.5).softmax(1)
        weight_nK = target.weight_NK.double()
        drawn_nV = torch.zeros_like(p_nV).scatter_add(1, target.ids_NK, weight_nK)
        assert torch.allclose(drawn_nV.sum(1), torch.ones(len(p_nV)).double())
        off += float((drawn_nV - p_nV).square().sum())
        expected += float((1 - p_nV.square().sum(1)).sum()) / 64  # of a multinomial of 64
        shares[row.key] = drawn_nV
    assert 0.85 < off / expected < 1.15

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        return 2.25 * -(shares[row.key] * (seen.logits_nV / 1.5).log_softmax(1)).sum()

    check(one, loss_of)


def test_parts_are_told_apart_by_name(tmp_path: Path, pair: Pair, teacher: Exact) -> None:
    one = taught(tmp_path, config_of(pair, SEVERAL, finetune=LIVE))
    taken = accumulate(one.teaching, one.batches(5))
    names = ["forward_kl", "reverse_kl", "jsd", "cross_entropy", "cross_entropy-2"]
    assert list(taken.sums) == names
    tokens = sum(row.targets for row in one.encoded)
    assert set(taken.tokens.values()) == {tokens}
    with torch.no_grad():
        twin = exact.exact_copy(one.model)
        plain = sum(float(exact.cross_entropy(exact.see(twin, r), r)) for r in one.encoded)
    assert float(taken.sums["cross_entropy"]) == pytest.approx(plain, rel=1e-5)
