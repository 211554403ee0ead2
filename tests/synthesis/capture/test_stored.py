"""What a local teacher kept while it generated stands for the scoring pass, or is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from mwalimu.config import Config
from mwalimu.data.dataset import open_dataset
from mwalimu.data.examples import Example, examples_of
from mwalimu.run import Run
from mwalimu.signals import Realised, Sampled, Signal, TopK
from mwalimu.synthesis.capture.local import LocalScorer
from mwalimu.synthesis.capture.scorers import build_scorer
from mwalimu.synthesis.capture.scoring import Scored, Scorer
from mwalimu.synthesis.capture.stored import KeptScorer
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.store import AnswerStore
from mwalimu.synthesis.store import Stored as StoredAnswer
from tests.synthesis.capture.jobs import job, write_prompts

ROWS = 30
SAMPLED = {"objective": ["forward_kl", "chunk_likelihood"], "signals": {"draws": 24}}
TOPK = {"objective": "reverse_kl", "signals": {"encoding": "topk", "k": 6}}
TEXT = {"objective": "cross_entropy"}


def answered(folder: Path, run: str, **settings: Any) -> tuple[Config, list[Example], Any]:
    """Stage 1 with the store of the folder: the config, the accepted rows, the ledger."""
    config = job(folder, settings.pop("objective"), **settings)
    dataset = open_dataset(folder / "train.jsonl", task="generic", split="train", max_rows=None)
    ledger = generate(
        config,
        Run(folder / run),
        folder / "answers",
        dataset,
        None,
        stage_fingerprint="x",
        on_progress=lambda *_: None,
    )
    lines = (folder / run / "generate" / "train.jsonl").read_bytes().splitlines()
    return config, [e for line in lines for e in examples_of(orjson.loads(line))], ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_prompts(tmp_path, ROWS)
    return tmp_path


def score(scorer: Scorer, rows: list[Example]) -> list[Scored]:
    results = scorer.score(rows)
    scorer.close()
    assert all(isinstance(result, Scored) for result in results)
    return [result for result in results if isinstance(result, Scored)]


def check_alike(one: Signal, other: Signal) -> None:
    if isinstance(one, Sampled) and isinstance(other, Sampled):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.counts.tolist() == other.counts.tolist()
    elif isinstance(one, TopK) and isinstance(other, TopK):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.tail == pytest.approx(other.tail, abs=1e-3)
    else:
        assert isinstance(one, Realised) and isinstance(other, Realised)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.byte_lengths.tolist() == other.byte_lengths.tolist()


@pytest.mark.parametrize("settings", [SAMPLED, TOPK], ids=["sampled and realised", "topk"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_both_ways_say_the_same(folder: Path, settings: dict[str, Any], temperature: float) -> None:
    settings = {**settings, "generate": {"min_ok": 0.5}, "teacher": {"temperature": temperature}}
    config, rows, _ = answered(folder, "run", **settings)
    stored = build_scorer(config, folder / "answers")
    assert isinstance(stored, KeptScorer)
    kept = score(stored, rows)
    assert "model" not in stored.rest.__dict__  # it was never loaded
    scored = score(LocalScorer(config), rows)
    assert stored.identity == LocalScorer(config).identity
    assert len(rows) > ROWS / 2
    for one, other in zip(kept, scored, strict=True):
        assert (one.key, one.crc) == (other.key, other.crc)
        assert one.signals.keys() == other.signals.keys() != set()
        for name, signal in one.signals.items():
            check_alike(signal, other.signals[name])


def test_answers_from_before_the_objective_are_used_and_scored(folder: Path) -> None:
    """Nothing is asked again for the sake of signals; what is asked differs in nothing."""
    _, rows, ledger = answered(folder, "text", **TEXT)
    assert ledger["requests_sent"] == ROWS
    config, again, ledger = answered(folder, "run", **SAMPLED)
    assert ledger["requests_sent"] == 0 and again == rows
    scorer = build_scorer(config, folder / "answers")
    assert isinstance(scorer, KeptScorer) and all(scorer._score(row) is None for row in rows)
    assert score(scorer, rows)


def test_keeping_changes_no_answer(folder: Path) -> None:
    _, plain, _ = answered(folder, "text", **TEXT)
    (folder / "answers").rename(folder / "text-answers")
    _, kept, ledger = answered(folder, "run", **SAMPLED)
    assert ledger["requests_sent"] == ROWS and kept == plain


def test_what_was_kept_for_another_objective_is_not_used(folder: Path) -> None:
    _, rows, _ = answered(folder, "run", **SAMPLED)
    for signals in ({"draws": 12}, {"encoding": "topk"}):
        config = job(folder, SAMPLED["objective"], signals=signals)
        scorer = build_scorer(config, folder / "answers")
        assert isinstance(scorer, KeptScorer) and scorer._score(rows[0]) is None
        scorer.close()
    config = job(folder, SAMPLED["objective"], signals=SAMPLED["signals"])
    scorer = build_scorer(config, folder / "answers")
    assert isinstance(scorer, KeptScorer) and scorer._score(rows[0]) is not None
    scorer.close()


def test_what_was_kept_of_other_ids_is_scored_anew(folder: Path) -> None:
    config, rows, _ = answered(folder, "run", **SAMPLED)
    with AnswerStore(folder / "answers") as store:
        found = store.find(rows[0].request_key)
        assert found is not None
        answer = orjson.loads(found.raw)
        answer["distribution"]["ids"][0] += 1
        store.put([StoredAnswer(found.key, found.cost, orjson.dumps(answer))])
    scorer = build_scorer(config, folder / "answers")
    assert isinstance(scorer, KeptScorer)
    assert scorer._score(rows[0]) is None and scorer._score(rows[1]) is not None
    assert len(score(scorer, rows)) == len(rows)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": ["forward_kl", "hidden"]},
        {"objective": "forward_kl", "signals": {"encoding": "dense"}},
        TEXT,
    ],
    ids=["hidden states", "a large vocabulary", "text alone"],
)
def test_nothing_is_kept_where_it_would_not_help(folder: Path, settings: dict[str, Any]) -> None:
    _, rows, _ = answered(folder, "run", **settings)
    with AnswerStore(folder / "answers") as store:
        raw = store.get(rows[0].request_key)
    assert raw is not None and "distribution" not in orjson.loads(raw)


def test_a_small_vocabulary_is_kept_whole(folder: Path) -> None:
    signals = {"encoding": "dense", "vocabulary": 839}
    config, rows, _ = answered(folder, "run", objective="forward_kl", signals=signals)
    scorer = build_scorer(config, folder / "answers")
    assert isinstance(scorer, KeptScorer)
    (first, *_), (other, *_) = score(scorer, rows[:1]), score(LocalScorer(config), rows[:1])
    one, two = first.signals["dense"], other.signals["dense"]
    assert one.logprobs == pytest.approx(two.logprobs, abs=0.02)  # type: ignore[union-attr]
