"""A student's doubts against the same numbers computed token by token."""

from __future__ import annotations

import math

import pytest
import torch

from mwalimu.buying.looking import Look
from mwalimu.config import build_config
from mwalimu.data.record import Message, Record
from mwalimu.data.tokenize import encode_prompt
from tests.tiny import make_tiny_model

PROMPTS = ("one", "two words", "a third prompt", "x")
MOST = 12


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    folder = tmp_path_factory.mktemp("student")
    make_tiny_model(folder / "model", spread=0.2)
    raw = {
        "task": "qa",
        "data": {"train": "none.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "model"},
        "evaluate": {"max_tokens": MOST, "batch_size": 3},
    }
    return Look.of(folder / "model", build_config(raw, base=folder))


def asks(reference: str | None = None) -> list[Record]:
    return [Record(p, "qa", (Message("user", p),), reference) for p in PROMPTS]


def alone(look: Look, record: Record) -> tuple[float, bool, str]:
    """log p of the greedy answer with its end, whether it ended, and its text; one at a time."""
    tokenizer, model = look.answerer.tokenizer, look.answerer.model
    ids, log_prob, said = encode_prompt(tokenizer, record.messages, ()), 0.0, []
    for _ in range(MOST):
        with torch.inference_mode():
            scores = model(torch.tensor([[*ids, *said]])).logits[0, -1].double().log_softmax(-1)
        best = int(scores.argmax())
        log_prob += float(scores[best])
        said.append(best)
        if best in look.answerer.ends:
            return log_prob, True, str(tokenizer.decode(said[:-1], skip_special_tokens=True))
    return log_prob, False, str(tokenizer.decode(said, skip_special_tokens=True))


def test_doubt_is_what_the_whole_answer_lacks_in_probability(look: Look) -> None:
    told: list[tuple[int, int]] = []
    found = look.doubts(asks(), lambda *done: told.append(done))
    for record, doubt in zip(asks(), found, strict=True):
        log_prob, ended, text = alone(look, record)
        # A text of tokens that are read back as others is read as those; none of these is.
        if ended and text == text.strip():
            assert doubt == pytest.approx(1 - math.exp(log_prob), abs=1e-5)
        if not ended:
            assert doubt == 1
    assert told[-1] == (4, 4)


def test_scores_are_those_of_the_task(look: Look) -> None:
    answers = [alone(look, record)[2].strip() for record in asks()]
    rows = [
        Record(row.id, row.task, row.messages, answer)
        for row, answer in zip(asks(), answers, strict=True)
    ]
    said = [bool(answer) for answer in answers]
    right = look.scores(rows, lambda *_: None)
    assert [score == 1 for score, spoke in zip(right, said, strict=True) if spoke] == [True] * sum(
        said
    )
    assert look.scores(asks("surely something else"), lambda *_: None) == [0.0] * 4
