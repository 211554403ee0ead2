"""The scoring pass against a softmax in float64, and what a row's signals must not depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.data.examples import Example
from mwalimu.errors import TeacherError
from mwalimu.signals import Dense, Hidden, Realised, Sampled, Signal, TopK
from mwalimu.synthesis.capture.local import LocalScorer
from mwalimu.synthesis.capture.scoring import Scored
from tests.synthesis.capture.jobs import encoded, examples, job, true_logprobs

ROWS = 6
CLOSE = 2e-4  # nats, of float32 against float64


def scorer_of(folder: Path, layers: tuple[int, ...] = (), **settings: Any) -> LocalScorer:
    objective = settings.pop("objective", "forward_kl")
    return LocalScorer(job(folder, objective, signals=settings), layers)


def signals_of(scorer: LocalScorer, rows: list[Example], name: str) -> list[Signal]:
    results = scorer.score(rows)
    assert all(isinstance(result, Scored) for result in results)
    return [result.signals[name] for result in results if isinstance(result, Scored)]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_best_tokens_and_the_mass_of_the_rest(tmp_path: Path, temperature: float) -> None:
    objective = {"kind": "forward_kl", "temperature": temperature}
    scorer = scorer_of(tmp_path, encoding="topk", k=5, top_p=0.95, objective=objective)
    rows = examples(ROWS)
    for example, signal in zip(rows, signals_of(scorer, rows, "topk"), strict=True):
        assert isinstance(signal, TopK)
        true_nV = true_logprobs(scorer.model, encoded(scorer.tokenizer, example), temperature)
        assert len(signal.sizes) == len(true_nV)
        starts = np.cumsum(signal.sizes) - signal.sizes
        for start, size, tail, true_V in zip(
            starts, signal.sizes, signal.tail, true_nV, strict=True
        ):
            order = np.argsort(-true_V)
            before = np.cumsum(np.exp(true_V[order])) - np.exp(true_V[order])
            assert size == min(5, max(1, int((before < 0.95).sum())))
            kept = slice(start, start + size)
            assert set(signal.ids[kept]) == set(order[:size])
            assert signal.logprobs[kept] == pytest.approx(true_V[order[:size]], abs=CLOSE)
            outside = np.exp(true_V[order[size:]]).sum()
            assert tail == pytest.approx(np.log(outside), rel=1e-3)


def test_all_log_probabilities_and_those_of_the_answer(tmp_path: Path) -> None:
    objective = ["forward_kl", "chunk_likelihood"]
    scorer = scorer_of(tmp_path, encoding="dense", objective=objective)
    rows = examples(ROWS)
    for example, result in zip(rows, scorer.score(rows), strict=True):
        assert isinstance(result, Scored)
        row = encoded(scorer.tokenizer, example)
        true_nV = true_logprobs(scorer.model, row)
        dense, realised = result.signals["dense"], result.signals["realised"]
        assert isinstance(dense, Dense) and isinstance(realised, Realised)
        assert dense.logprobs == pytest.approx(true_nV, rel=2e-3, abs=2e-3)  # float16
        targets = row.ids[-row.targets :]
        expected = true_nV[np.arange(row.targets), targets]
        assert realised.logprobs == pytest.approx(expected, abs=CLOSE)
        assert realised.byte_lengths.sum() == len(example.chat[-1]["content"].encode())
        assert realised.byte_lengths[-1] == 0
        assert (result.key, result.crc) == (example.key, row.target_crc)


def test_hidden_states_are_those_that_the_model_hands_out(tmp_path: Path) -> None:
    scorer = scorer_of(tmp_path, (2, 0), objective=["forward_kl", "hidden"])
    rows = examples(ROWS)
    for example, signal in zip(rows, signals_of(scorer, rows, "hidden"), strict=True):
        assert isinstance(signal, Hidden)
        row = encoded(scorer.tokenizer, example)
        with torch.no_grad():
            output = scorer.model(
                input_ids=torch.tensor([row.ids]), output_hidden_states=True, use_cache=False
            )
        places = slice(-row.targets - 1, -1)
        for index, layer in enumerate((2, 0)):
            expected = output.hidden_states[layer + 1][0, places].numpy()
            assert signal.states[:, index] == pytest.approx(expected, abs=1e-4)


def test_draws_are_of_the_teachers_distribution(tmp_path: Path) -> None:
    """Chi-square over 25,600 draws of each token, every 64 of them under another key."""
    objective = {"kind": "forward_kl", "temperature": 3.0}
    scorer = scorer_of(tmp_path, draws=64, batch_size=64, objective=objective)
    (example,) = examples(1)
    keyed = [replace(example, request_key=f"{i:032x}" * 2) for i in range(400)]
    true_nV = true_logprobs(scorer.model, encoded(scorer.tokenizer, example), 3.0)
    counts_nV = np.zeros_like(true_nV)
    for signal in signals_of(scorer, keyed, "sampled"):
        assert isinstance(signal, Sampled)
        tokens_E = np.repeat(np.arange(len(signal.sizes)), signal.sizes)
        np.add.at(counts_nV, (tokens_E, signal.ids), signal.counts)
    assert (counts_nV.sum(1) == 64 * 400).all()
    for counts_V, true_V in zip(counts_nV, true_nV, strict=True):
        expected_V = np.exp(true_V) * 64 * 400
        common = expected_V >= 5
        seen = np.append(counts_V[common], counts_V[~common].sum())
        due = np.append(expected_V[common], max(expected_V[~common].sum(), 1e-9))
        chi_square = ((seen - due) ** 2 / due)[due >= 5].sum()
        freedom = int((due >= 5).sum()) - 1
        assert chi_square < freedom + 5 * np.sqrt(2 * freedom) + 1


@pytest.mark.parametrize("encoding", ["sampled", "topk"])
def test_a_rows_signals_are_the_same_in_any_company(tmp_path: Path, encoding: str) -> None:
    rows = examples(24)
    found = []
    for size, order in ((16, 1), (1, 1), (5, -1)):
        scorer = scorer_of(tmp_path, encoding=encoding, batch_size=size)
        found.append(signals_of(scorer, rows[::order], encoding)[::order])
    for one, *others in zip(*found, strict=True):
        for other in others:
            assert isinstance(one, Sampled | TopK) and isinstance(other, Sampled | TopK)
            assert (one.ids == other.ids).all() and (one.sizes == other.sizes).all()
            if isinstance(one, TopK) and isinstance(other, TopK):
                assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_a_long_answer_is_reduced_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mwalimu.objectives import chunking

    rows = examples(ROWS)
    whole = signals_of(scorer_of(tmp_path), rows, "sampled")
    monkeypatch.setattr(chunking, "CHUNK_BYTES", {"cpu": 1})
    monkeypatch.setattr(chunking, "MIN_CHUNK", 3)
    for one, other in zip(whole, signals_of(scorer_of(tmp_path), rows, "sampled"), strict=True):
        assert isinstance(one, Sampled) and isinstance(other, Sampled)
        assert (one.ids == other.ids).all() and (one.counts == other.counts).all()


def test_what_the_teacher_cannot_read_is_left_out_with_a_reason(tmp_path: Path) -> None:
    scorer = scorer_of(tmp_path)
    (good,) = examples(1)
    answer = {"role": "assistant", "content": "yes"}
    long = replace(good, chat=[{"role": "user", "content": "lamp " * 300}, answer])
    cut = replace(good, chat=[good.chat[0], {"role": "assistant", "content": "lamp " * 300}])
    results = scorer.score([long, good, cut])
    context = "it is longer than the teacher's context"
    assert results[0] == context and results[2] == context and isinstance(results[1], Scored)


@pytest.mark.parametrize("encoding", ["sampled", "topk"])
def test_logits_that_are_not_finite_are_an_error(tmp_path: Path, encoding: str) -> None:
    scorer = scorer_of(tmp_path, encoding=encoding)
    with torch.no_grad():
        scorer.model.lm_head.weight[3] = float("nan")
    with pytest.raises(TeacherError, match=r"not finite|not a number"):
        found = signals_of(scorer, examples(2), encoding)
        scorer.encoding(encoding).pack(found)
