"""The cache as a teacher: each row its own signals, in any company; what is not there is text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.data.collate import Batch, collate
from mwalimu.data.tokenize import Encoded
from mwalimu.errors import SignalMismatch
from mwalimu.finetune.rows import encode_splits
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import TeacherSource
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.teaching import Teaching, accumulate
from mwalimu.objectives.targets import DenseTarget, SampledTarget, SparseTarget, Target
from tests.finetune.jobs import chat, sums
from tests.finetune.taught import CPU, Pair, Taught, captured, config_of, make_pair, taught
from tests.tiny import make_tokenizer

ROWS = sums(20)
ENCODINGS = ("sampled", "topk", "dense")
TURNS = [
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "sure?"},
    {"role": "assistant", "content": "yes, two"},
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module", params=ENCODINGS)
def one(request: pytest.FixtureRequest, pair: Pair, tmp_path_factory: Any) -> Taught:
    """Of the rows the cache knows all but the last four."""
    folder = tmp_path_factory.mktemp(request.param)
    config = config_of(pair, "forward_kl", signals={"encoding": request.param})
    return taught(folder, config, ROWS, known=ROWS[:16])


def distribution(target: Target | None, width: int) -> torch.Tensor:
    """[N, V + 1] whatever the form: the last is the mass of all that are not named."""
    if isinstance(target, DenseTarget):
        p_NV = target.logp_NV.double().exp()
        return torch.cat([p_NV, torch.zeros(len(p_NV), 1)], 1)
    if isinstance(target, SampledTarget):
        ids_NK, p_NK = target.ids_NK, target.weight_NK.double()
        tail_N = torch.zeros(len(ids_NK)).double()
    else:
        assert isinstance(target, SparseTarget)
        ids_NK, p_NK = target.ids_NK, target.logp_NK.double().exp()
        tail_N = target.tail_N.double().exp()
    p_NV = torch.zeros(len(ids_NK), width + 1).double().scatter_add(1, ids_NK, p_NK)
    p_NV[:, -1] += tail_N
    return p_NV


def look(source: TeacherSource, batch: Batch) -> list[torch.Tensor]:
    """Row by row."""
    p_NV = distribution(source.look(batch).target, len(make_tokenizer()))
    torch.testing.assert_close(p_NV.sum(1), torch.ones(len(p_NV)).double(), atol=2e-3, rtol=0)
    return list(p_NV.split(batch.sizes_B.tolist()))


@given(st.randoms(use_true_random=False), st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_no_order_and_no_packing_can_misalign(one: Taught, rng: Any, size: int) -> None:
    alone = {row.key: look(one.source, one.collate([row]))[0] for row in one.encoded}
    rows = list(one.encoded)
    rng.shuffle(rows)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        for row, p_nV in zip(part, look(one.source, one.collate(part)), strict=True):
            assert torch.equal(p_nV, alone[row.key])


def test_what_the_cache_does_not_know_is_learned_as_text(one: Taught) -> None:
    unknown = one.encoded[16:]
    for p_nV, row in zip(look(one.source, one.collate(unknown)), unknown, strict=True):
        labels = row.ids[len(row.ids) - row.targets :]
        assert p_nV[torch.arange(row.targets), labels].tolist() == [1.0] * row.targets
    text = Teaching(one.model)
    for indices in (range(16, 20), range(14, 20), range(20)):
        batch = one.batch(*indices)
        known = [i for i in indices if i < 16]
        found = gradient(one.model, one.teaching, [batch], batch)
        parts = [
            gradient(one.model, one.teaching, [one.batch(*known)], batch) if known else 0.0,
            gradient(one.model, text, [one.batch(*range(16, 20))], batch),
        ]
        torch.testing.assert_close(found, parts[0] + parts[1], rtol=1e-4, atol=1e-6)


def gradient(model: Any, teaching: Teaching, batches: list[Batch], of: Batch) -> torch.Tensor:
    """Of sums, divided by the targets of `of`."""
    model.zero_grad()
    for batch in batches:
        teaching(batch, 1 / of.labels_N.numel(), 0.0).loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_a_row_cut_short_has_its_first_tokens(one: Taught) -> None:
    longest = max(one.encoded[:16], key=lambda row: row.targets)
    whole = look(one.source, one.collate([longest]))[0]
    for cut in range(1, longest.targets):
        row = longest.with_answer(longest.prompt, longest.answer[:-cut], truncated=True)
        assert torch.equal(look(one.source, one.collate([row]))[0], whole[:-cut])


def test_other_tokens_under_a_known_key_are_refused(one: Taught) -> None:
    row = one.encoded[3]
    with pytest.raises(SignalMismatch, match=r"are of other tokens; .*capture again"):
        one.source.look(one.collate([row, replace(row, target_crc=row.target_crc ^ 1)]))
    longer = row.with_answer(row.prompt, [*row.answer, 7])
    with pytest.raises(SignalMismatch, match=rf"are of {row.targets} tokens, not"):
        one.source.look(one.collate([longer]))


def test_every_turn_of_a_row_that_teaches_all_is_found(tmp_path: Path, pair: Pair) -> None:
    whole = {"id": "w", "messages": TURNS, "learn": "all"}
    config = config_of(pair, "reverse_kl")
    one = taught(tmp_path, config, [whole, chat("a", "1", "2")])
    assert [row.row_id for row in one.encoded] == ["w", "w", "a"]
    for row in one.encoded:
        target = one.source.look(one.collate([row])).target
        assert isinstance(target, SparseTarget)
        assert float(target.logp_NK[:, 0].max()) < 0  # no text: a teacher is never that sure


def test_a_conversation_in_both_splits_hides_no_other(tmp_path: Path, pair: Pair) -> None:
    train, validation = sums(6), [*sums(2), *sums(6, seed=1)]
    objective = ["forward_kl", {"kind": "hidden", "layers": [[0, 0]]}]
    config = config_of(pair, objective, signals={"encoding": "sampled"})
    run = captured(tmp_path, config, train, validation)
    tokenizer = make_tokenizer()
    encoded = encode_splits(tokenizer, train, validation, 64)
    white_box = WhiteBox.of(config, run)
    assert white_box is not None
    rows = JobRows.of(tokenizer, [*train, *validation])
    source = white_box.source(config.finetune.objective, rows, CPU, autocast=False)
    for split in encoded:
        for part in (split, split[::-1], split[1:]):
            view = source.look(collate(part, pad_id=0, device=CPU))
            assert isinstance(view.target, SampledTarget) and view.hidden_at is None
            assert len(view.hidden[0]) == sum(row.targets for row in part)
            sure_N = view.target.weight_NK[:, 0] == 1
            assert float(sure_N.float().mean()) < 0.2


def mean_loss(one: Taught) -> float:
    return float(accumulate(one.teaching, one.batches(7)).loss)


@pytest.mark.parametrize("kind", ["reverse_kl", "total_variation", "jsd"])
def test_cached_and_live_give_the_same_numbers(tmp_path: Path, pair: Pair, kind: str) -> None:
    """Dense but for its halves; the best tokens are a lower bound, near where they hold all."""
    numbers = {}
    for name, sections in {
        "live": {"finetune": {"teacher": "live"}},
        "dense": {"signals": {"encoding": "dense"}},
        "topk": {"signals": {"encoding": "topk", "k": 255, "top_p": 1.0}},
        "few": {"signals": {"encoding": "topk", "k": 4}},
    }.items():
        numbers[name] = mean_loss(taught(tmp_path / name, config_of(pair, kind, **sections), ROWS))
    assert numbers["dense"] == pytest.approx(numbers["live"], rel=1e-3)
    assert numbers["topk"] == pytest.approx(numbers["live"], rel=3e-3)
    assert numbers["few"] < numbers["live"]


def test_hidden_states_are_those_of_a_live_teacher(tmp_path: Path, pair: Pair) -> None:
    part = {"kind": "hidden", "layers": [[0, 0], [1, 2]]}
    live = taught(tmp_path / "live", config_of(pair, part, finetune={"teacher": "live"}), ROWS)
    cached = taught(tmp_path / "cached", config_of(pair, part), ROWS, known=ROWS[:16])
    assert cached.source.hidden_size == live.source.hidden_size == 48
    batch = live.batch(5, 2, 11)
    expected, found = live.source.look(batch), cached.source.look(batch)
    assert found.hidden_at is None and found.hidden.keys() == expected.hidden.keys() == {0, 2}
    for layer, states_NH in expected.hidden.items():
        torch.testing.assert_close(found.hidden[layer], states_NH, rtol=2e-3, atol=2e-3)
    mixed = cached.source.look(cached.batch(5, 17, 11))
    sizes = [cached.encoded[i].targets for i in (5, 17, 11)]
    assert mixed.hidden_at is not None
    expected_at = [*range(sizes[0]), *range(sum(sizes[:2]), sum(sizes))]
    assert mixed.hidden_at.tolist() == expected_at
    none = cached.source.look(cached.batch(17, 18))
    assert none.hidden_at is not None and not len(none.hidden_at)
    assert none.hidden[0].shape == (0, 48)


def test_pieces_of_rows_that_nothing_is_known_of(tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "pair", other_tokens=True)
    rows = [chat("a", "q", "the cat"), chat("b", "q", "the mat"), chat("c", "q", "sat")]
    config = config_of(pair, ["chunk_likelihood", "cross_entropy"])
    one = taught(tmp_path / "run", config, rows, known=rows[:2])

    def chunks(row: Encoded) -> Any:
        return one.source.look(one.collate([row])).chunks

    assert len(chunks(one.encoded[0]).logp_M) > 1 and not len(chunks(one.encoded[2]).logp_M)
    together = one.source.look(one.batch(2, 1, 0)).chunks
    assert together is not None
    alone = torch.cat([chunks(one.encoded[i]).logp_M for i in (2, 1, 0)])
    assert torch.equal(together.logp_M, alone)
    assert int(together.tokens_J.min()) == one.encoded[2].targets
