"""Hidden states and attention through all of `Teaching`, against transformers' own outputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.losses.layers import HiddenLoss, layer_pairs
from mwalimu.finetune.teaching import accumulate
from mwalimu.objectives.features import EPSILON
from tests.finetune import exact
from tests.finetune.exact import Seen
from tests.finetune.taught import ROWS, Pair, Taught, config_of, make_pair, taught
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def seen_by_teacher(pair: Pair) -> Callable[[Encoded], Seen]:
    model = exact.load(pair.teacher)

    def see(row: Encoded) -> Seen:
        with torch.no_grad():
            return exact.see(model, row)

    return see


def check(
    one: Taught, loss_of: Callable[[Seen, Encoded], torch.Tensor], tolerance: float = 1e-4
) -> None:
    value, expected = exact.gradients(one.model, one.encoded, loss_of)
    for size in (len(one.encoded), 5, 1):
        one.model.zero_grad()
        taken = accumulate(one.teaching, one.batches(size))
        assert float(taken.loss) == pytest.approx(value, rel=tolerance)
        exact.compare(one.model, expected, tolerance)


def unit(state_nH: torch.Tensor) -> torch.Tensor:
    return state_nH / (state_nH.square().mean(1, keepdim=True) + EPSILON).sqrt()


def projection(one: Taught, pair: tuple[int, int]) -> torch.Tensor:
    (loss,) = (part for part in one.teaching.losses if isinstance(part, HiddenLoss))
    return loss.projections.maps[f"{pair[0]}-{pair[1]}"].weight.detach().double()


@pytest.mark.parametrize("distance", ["mse", "cosine"])
@pytest.mark.parametrize("where", ["float16", "int8", "live"])
def test_hidden_states_projected_to_the_teachers_size(
    tmp_path: Path,
    pair: Pair,
    seen_by_teacher: Callable[[Encoded], Seen],
    distance: str,
    where: str,
) -> None:
    """Weight 0.5 over two pairs; the last layers are left out, which are behind a norm there."""
    part = {"kind": "hidden", "weight": 0.5, "layers": [[0, 1], [0, 0]], "distance": distance}
    sections = {"finetune": {"teacher": "live"}}
    if where != "live":
        sections = {"signals": {"hidden_dtype": where}}
    one = taught(tmp_path, config_of(pair, part, **sections))
    maps = {teacher: projection(one, (0, teacher)) for teacher in (0, 1)}

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for layer, weight in maps.items():
            s = seen.hidden_nH[0] @ weight.T
            t = seen_by_teacher(row).hidden_nH[layer]
            if distance == "mse":
                total = total + (unit(s) - unit(t)).square().mean(1).sum()
            else:
                cosine = (s * t).sum(1) / (s.norm(dim=1) * t.norm(dim=1))
                total = total + (1 - cosine).sum()
        return 0.5 * total / 2

    check(one, loss_of, {"live": 1e-4, "float16": 2e-3, "int8": 4e-2}[where])


def test_the_projections_learn_too(tmp_path: Path, pair: Pair) -> None:
    part = {"kind": "hidden", "layers": [[0, 1]]}
    one = taught(tmp_path, config_of(pair, part))
    (name, weight), *more = one.teaching.trained.named_parameters()
    assert not more and name.endswith("maps.0-1.weight") and weight.shape == (48, 32)
    found = []
    for size in (12, 5, 1):
        one.teaching.trained.zero_grad()
        accumulate(one.teaching, one.batches(size))
        assert weight.grad is not None
        found.append(weight.grad.clone())
    for grad in found[1:]:
        torch.testing.assert_close(grad, found[0], rtol=1e-4, atol=1e-7)


def test_equal_sizes_need_no_projection(tmp_path: Path, pair: Pair) -> None:
    twin = Pair(make_tiny_model(tmp_path / "twin", seed=5, spread=0.2), pair.student)
    one = taught(tmp_path / "run", config_of(twin, {"kind": "hidden", "layers": [[0, 0]]}))
    assert not list(one.teaching.trained.parameters())
    teacher = exact.load(twin.teacher)

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        with torch.no_grad():
            t = exact.see(teacher, row).hidden_nH[0]
        return (unit(seen.hidden_nH[0]) - unit(t)).square().mean(1).sum()

    check(one, loss_of, 2e-3)


def test_rows_without_states_are_left_out_of_the_sum(
    tmp_path: Path, pair: Pair, seen_by_teacher: Callable[[Encoded], Seen]
) -> None:
    """Nothing can stand for a state that no one kept; the tokens still count in the mean."""
    objective = [{"kind": "hidden", "layers": [[0, 1]]}, "forward_kl", "cross_entropy"]
    objective[1] = {"kind": "forward_kl", "weight": 0.0}
    one = taught(tmp_path, config_of(pair, objective), known=ROWS[:7])
    known = {row.key for row in one.encoded[:7]}
    weight = projection(one, (0, 1))

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        text = exact.cross_entropy(seen, row)
        if row.key not in known:
            return text
        s, t = seen.hidden_nH[0] @ weight.T, seen_by_teacher(row).hidden_nH[1]
        return text + (unit(s) - unit(t)).square().mean(1).sum()

    check(one, loss_of, 2e-3)


@pytest.mark.parametrize("distance", ["kl", "mse"])
def test_attention_beside_a_live_teacher(
    tmp_path: Path, pair: Pair, seen_by_teacher: Callable[[Encoded], Seen], distance: str
) -> None:
    part = {"kind": "attention", "weight": 3.0, "pairs": 2, "distance": distance}
    config = config_of(pair, part)
    pairs = layer_pairs(config.finetune.objective[0])
    assert [tuple(found) for found in pairs] == [(0, 1), (1, 2)]
    one = taught(tmp_path, config)

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for student, teacher in pairs:
            q, p = seen.attention_nT[student], seen_by_teacher(row).attention_nT[teacher]
            if distance == "mse":
                total = total + (p - q).square().sum()
                continue
            there = p > 0
            safe_p, safe_q = torch.where(there, p, 1.0), torch.where(there, q, 1.0)
            total = total + (p * (safe_p / safe_q).log()).sum()
        return 3.0 * total / 2

    check(one, loss_of)


def test_a_layer_map_that_is_not_written_out_is_a_mistake(pair: Pair) -> None:
    from mwalimu.config import PartConfig

    with pytest.raises(ValueError, match="uniform has not been written out"):
        layer_pairs(PartConfig(kind="hidden"))
