"""A server scores the answers that came without log-probabilities, and a whole job lives on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mwalimu import api
from mwalimu.config import Config, build_config
from mwalimu.data.examples import Example
from mwalimu.errors import TeacherUnreachable
from mwalimu.run import Run
from mwalimu.signals import Realised, SignalReader, TopK
from mwalimu.synthesis.capture.scorers import build_scorer
from mwalimu.synthesis.capture.scoring import Scored
from mwalimu.synthesis.capture.served import ServedScorer
from mwalimu.synthesis.capture.stored import StoredThenServed
from mwalimu.teachers import prompt_scores
from tests.score_server import ScoreServer
from tests.synthesis.capture.jobs import (
    STUDENT,
    TEACHER,
    encoded,
    examples,
    job,
    true_logprobs,
    write_prompts,
)

BOTH = ["reverse_kl", "chunk_likelihood"]
K = 6


@pytest.fixture(scope="module")
def server() -> Iterator[ScoreServer]:
    with ScoreServer(Path(TEACHER)) as server:
        yield server


def teacher_of(url: str, **more: Any) -> dict[str, Any]:
    return {"model": "teacher", "base_url": url, "tokenizer": TEACHER, "scoring": "vllm"} | more


def scorer_of(folder: Path, url: str, top_p: float = 1.0, **more: Any) -> ServedScorer:
    signals = {"encoding": "topk", "k": K, "top_p": top_p}
    config = job(folder, BOTH, teacher=teacher_of(url, **more), signals=signals)
    scorer = build_scorer(config, folder)
    assert isinstance(scorer, ServedScorer)
    return scorer


def both_of(folder: Path, url: str) -> StoredThenServed:
    told = teacher_of(url, top_logprobs=5)
    config = job(folder, BOTH, teacher=told, signals={"encoding": "topk", "k": K, "top_p": 1.0})
    scorer = build_scorer(config, folder / "answers")
    assert isinstance(scorer, StoredThenServed)
    return scorer


def test_it_is_asked_about_every_row_that_the_store_tells_nothing_of(
    tmp_path: Path, server: ScoreServer
) -> None:
    alone, both, rows = scorer_of(tmp_path, server.url), both_of(tmp_path, server.url), examples(3)
    told, scored = both.score(rows), alone.score(rows)
    assert both.encoding("topk") == alone.encoding("topk")
    assert both.identity.compared() == alone.identity.compared()
    for one, other in zip(told, scored, strict=True):
        assert isinstance(one, Scored) and isinstance(other, Scored)
        assert one[:2] == other[:2]
        np.testing.assert_equal(
            {name: asdict(signal) for name, signal in one.signals.items()},
            {name: asdict(signal) for name, signal in other.signals.items()},
        )
    alone.close(), both.close()


def test_it_is_not_asked_about_what_the_store_tells(
    tmp_path: Path, server: ScoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three is not there; the reason that stays is the server's."""
    both, rows = both_of(tmp_path, server.url), examples(3)
    known = Scored(b"k", 1, {})
    monkeypatch.setattr(both.stored, "score", lambda _: [known, "came without", known])
    asked: list[Example] = []

    def score(examples: list[Example]) -> list[str]:
        asked.extend(examples)
        return ["the server refuses it"]

    monkeypatch.setattr(both.rest, "score", score)
    assert both.score(rows) == [known, "the server refuses it", known] and asked == [rows[1]]
    monkeypatch.setattr(both.stored, "score", lambda _: [known] * 3)
    assert both.score(rows) == [known] * 3 and asked == [rows[1]]
    both.close()


@pytest.mark.parametrize(("dialect", "top_p"), [("vllm", 1.0), ("vllm", 0.9), ("sglang", 0.999)])
def test_signals_are_the_models_own(
    tmp_path: Path, server: ScoreServer, dialect: str, top_p: float
) -> None:
    scorer = scorer_of(tmp_path, server.url, top_p, scoring=dialect)
    rows = examples(6)
    results = scorer.score(rows)
    scorer.close()
    for example, result in zip(rows, results, strict=True):
        assert isinstance(result, Scored) and result.key == example.key
        row = encoded(scorer.tokenizer, example)
        logp_nV, ids = true_logprobs(server.model, row), row.ids[-row.targets :]
        own = result.signals["realised"]
        assert isinstance(own, Realised) and result.crc == row.target_crc
        np.testing.assert_allclose(own.logprobs, logp_nV[range(len(ids)), ids], atol=1e-4)
        assert own.byte_lengths.sum() == len(str(example.chat[-1]["content"]).encode())
        best = result.signals["topk"]
        assert isinstance(best, TopK)
        check_best(best, logp_nV, ids, top_p)
        scorer.encoding("topk").pack([best])


def check_best(found: TopK, logp_nV: Any, labels: list[int], top_p: float) -> None:
    """The best and the label, cut where they hold `top_p`; all others are the tail."""
    start = 0
    for at, size in enumerate(found.sizes.tolist()):
        order = logp_nV[at].argsort()[::-1].tolist()
        wanted = order[:K] + [token for token in order[K:] if token == labels[at]]
        mass = np.exp(logp_nV[at, wanted])
        wanted = wanted[: int((mass.cumsum() - mass < top_p).sum())]
        part = slice(start, start + size)
        start = part.stop
        assert found.ids[part].tolist() == wanted
        np.testing.assert_allclose(found.logprobs[part], logp_nV[at, wanted], atol=1e-4)
        outside = 1 - np.exp(logp_nV[at, wanted]).sum()
        # logits near 32 have steps of 4e-6 in float32, and each CPU rounds its own way
        assert np.exp(found.tail[at]) == pytest.approx(outside, abs=1e-5)


def test_what_cannot_be_scored_is_left_out_by_name(tmp_path: Path, server: ScoreServer) -> None:
    scorer = scorer_of(tmp_path, server.url)
    good = examples(2)
    question = {"role": "user", "content": "so " * 600}
    long = Example([question, good[0].chat[-1]], (), "1", "")
    first, refused, last = scorer.score([good[0], long, good[1]])
    scorer.close()
    assert isinstance(first, Scored) and isinstance(last, Scored)
    assert isinstance(refused, str) and "the server refuses it: HTTP 400" in refused


def whole_job(folder: Path, url: str, **finetune: Any) -> Config:
    write_prompts(folder, 24)
    raw = {
        "task": "generic",
        "data": {"train": "train.jsonl"},
        "teacher": teacher_of(url, max_tokens=64, outage_s=2),
        "student": {"model": STUDENT, "method": "full", "max_length": 256},
        "generate": {"min_ok": 0.5},
        "finetune": {"epochs": 1, "batch_size": 8, **finetune},
    }
    return build_config(raw, base=folder)


def execute(config: Config, folder: Path) -> None:
    api.run(config, folder / "run", store=folder / "answers")


def test_a_whole_job_on_a_server_alone(tmp_path: Path, server: ScoreServer) -> None:
    """Answers, their signals, and the scores of what the student writes."""
    asked = len(server.bodies)
    on_policy = {"share": 0.5, "max_tokens": 16}
    config = whole_job(tmp_path, server.url, objective="reverse_kl", on_policy=on_policy)
    execute(config, tmp_path)
    (signals,) = (tmp_path / "run" / "signals").glob("topk/*")
    reader = SignalReader.open(signals)
    assert reader.manifest.rows == 24 and reader.manifest.identity.kind == "openai_compatible"
    assert len(server.bodies) > asked + 24
    assert Run(tmp_path / "run").stage("finetune") is not None
    answered, asked = server.requests, len(server.bodies)
    execute(config, tmp_path)  # all of it is done
    assert (server.requests, len(server.bodies)) == (answered, asked)


def test_it_goes_on_where_the_server_went_away(
    tmp_path: Path, server: ScoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_scores, "BACKOFF_S", 0.05)
    config = whole_job(tmp_path, server.url, objective="jsd")
    real = ServedScorer.score

    def away(self: ServedScorer, rows: Any) -> Any:
        server.troubles.extend([503] * 5000)
        return real(self, rows)

    with monkeypatch.context() as patch, pytest.raises(TeacherUnreachable, match="HTTP 503"):
        patch.setattr(ServedScorer, "score", away)
        execute(config, tmp_path)
    server.troubles.clear()
    answered = server.requests
    execute(config, tmp_path)
    assert server.requests == answered  # no answer was bought again
