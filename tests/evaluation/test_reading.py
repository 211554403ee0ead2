"""A model reads given texts: against one forward pass a text, written out."""

import math
from pathlib import Path

import pytest
import torch

from mwalimu.data.record import Message, Record
from mwalimu.evaluation import reading
from mwalimu.evaluation.generate import Answerer, load_answerer
from mwalimu.evaluation.reading import diverge, read_texts
from tests.tiny import make_tiny_model

ROWS = [Record(f"r{i}", "qa", (Message("user", "why " * (1 + i)),)) for i in range(4)]
TEXTS = ["because", "", "x" * 900, "no idea at all"]


def load(folder: Path, seed: int = 0) -> Answerer:
    made = make_tiny_model(folder / str(seed), layers=1, seed=seed)
    return load_answerer(made, max_tokens=4, trust_remote_code=False)


def logits_of(answerer: Answerer, row: int, ids: list[int]) -> torch.Tensor:
    (prompt,) = answerer.encode([ROWS[row]])
    with torch.no_grad():
        found = answerer.model(input_ids=torch.tensor([prompt + ids])).logits[0]
    return found[len(prompt) - 1 : -1]


def ids_of(answerer: Answerer, text: str) -> list[int]:
    return [*answerer.tokenizer.encode(text), answerer.tokenizer.eos_token_id]


@pytest.mark.parametrize("logits", [1, 1 << 26])
def test_a_text_is_worth_its_tokens_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logits: int
) -> None:
    monkeypatch.setattr(reading, "LOGITS", logits)  # one row at a time, and all at once
    answerer = load(tmp_path)
    found = read_texts(answerer, ROWS, TEXTS)
    assert found[2] is None  # does not fit
    for row in (0, 1, 3):
        ids = ids_of(answerer, TEXTS[row])
        chosen = logits_of(answerer, row, ids).log_softmax(-1)[range(len(ids)), ids]
        read = found[row]
        assert read is not None and read.tokens == len(ids)
        assert read.log_prob == pytest.approx(float(chosen.sum()), rel=1e-4)


def test_a_model_is_near_itself_and_far_from_another(tmp_path: Path) -> None:
    one, two = load(tmp_path), load(tmp_path, seed=1)
    alike = diverge(one, one, ROWS, TEXTS).to_json()
    assert alike and alike["kl"] == 0 and alike["acceptance"] == pytest.approx(1)
    found = diverge(one, two, ROWS, TEXTS).to_json()
    assert found and found["tokens"] == alike["tokens"]
    kl = shared = 0.0
    for row in (0, 1, 3):
        ids = ids_of(one, TEXTS[row])
        p, q = (logits_of(each, row, ids).softmax(-1) for each in (one, two))
        kl += float((p * (p / q).log()).sum())
        shared += float(torch.minimum(p, q).sum())
    assert found["kl"] == pytest.approx(kl / found["tokens"], rel=1e-3)
    assert found["acceptance"] == pytest.approx(shared / found["tokens"], rel=1e-3)
    assert not math.isclose(found["acceptance"], 1)
