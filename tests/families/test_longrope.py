"""Rows on both sides of the length where Phi changes its rotary frequencies."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mwalimu.config import FinetuneConfig, OnPolicyConfig
from mwalimu.data.batched_generation import generate_batch
from mwalimu.data.collate import collate
from mwalimu.data.examples import Example
from mwalimu.data.longrope import rope_limit
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.on_policy import Rollout
from mwalimu.finetune.teaching import Teaching
from mwalimu.finetune.trainer import Job, Trainer
from mwalimu.signals import Dense
from mwalimu.synthesis.capture.local import LocalScorer
from mwalimu.synthesis.capture.scoring import Scored
from tests.families.families import FAMILIES, LIMIT, make, tokenizer_of
from tests.synthesis.capture.jobs import encoded, job, true_logprobs

PHI = ["phi-3.5-mini", "phi-4-mini"]
NEVER = 10**6  # an id that ends nothing


@pytest.fixture(params=PHI)
def phi(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """(model, tokenizer)."""
    folder = make(tmp_path / "model", request.param)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), tokenizer_of(FAMILIES[request.param])


def prompt(length: int) -> list[int]:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(0, 200, (length,), generator=generator).tolist()


def row(length: int, answer: int = 5) -> Encoded:
    return Encoded.of(prompt(length), [False] * (length - answer) + [True] * answer)


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return found


def one_by_one(model: Any, ids: list[int], count: int) -> list[int]:
    """Greedy, without a cache: every token from the whole row so far."""
    for _ in range(count):
        ids = [*ids, int(logits(model, ids)[-1].argmax())]
    return ids[-count:]


def nats(model: Any, rows: list[Encoded]) -> float:
    total = 0.0
    for one in rows:
        logp_TV = logits(model, one.ids).double().log_softmax(-1)
        places = [i for i, learned in enumerate(one.labels_mask) if learned]
        total -= sum(float(logp_TV[i - 1, one.ids[i]]) for i in places)
    return total


def test_a_short_row_beside_a_long_one_is_not_itself(phi: Any) -> None:
    """Why all this is needed: if transformers mends it, our grouping can go."""
    model, _ = phi
    assert rope_limit(model) == LIMIT
    short, long = prompt(LIMIT - 20), prompt(LIMIT + 20)
    alone = logits(model, short)
    with torch.no_grad():
        beside = model(input_ids=torch.tensor([short + [0] * 40, long])).logits[0, : len(short)]
    assert float((alone - beside).abs().max()) > 0.1 * float(alone.abs().max())


@pytest.mark.parametrize("lengths", [(20, LIMIT), (LIMIT + 1, LIMIT + 30), (30, LIMIT + 1, LIMIT)])
def test_training_sees_every_row_as_if_alone(
    phi: Any, tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    model, tokenizer = phi
    rows = [row(length) for length in lengths]
    settings = FinetuneConfig(batch_size=8, epochs=1, learning_rate=1e-9)
    job = Job(settings, rows, rows, tokenizer.pad_token_id, 0, "fingerprint")
    trainer = Trainer(model, job, tmp_path / "run", lambda *_: None)
    expected = nats(model, rows) / (5 * len(rows))
    state = trainer.fit()
    assert state.best is not None and state.step == 1
    assert state.best.train_loss == pytest.approx(expected, rel=1e-5)
    assert state.best.validation_loss == pytest.approx(expected, rel=1e-5)


def test_one_padded_batch_would_have_learned_something_else(phi: Any) -> None:
    model, tokenizer = phi
    rows = [row(30), row(LIMIT + 1)]
    batch = collate(rows, pad_id=tokenizer.pad_token_id, device=torch.device("cpu"))
    with torch.no_grad():
        found = Teaching(model)(batch, 1.0, 1.0).loss.item()
    assert found != pytest.approx(nats(model, rows), rel=1e-2)


def test_answers_across_the_limit_are_those_without_a_cache(phi: Any) -> None:
    model, tokenizer = phi
    prompts = [prompt(length) for length in (20, LIMIT - 8, LIMIT - 12, LIMIT, LIMIT + 1, 90)]
    answers = generate_batch(model, tokenizer, prompts, ends=[NEVER], max_tokens=12)
    for ids, answer in zip(prompts, answers, strict=True):
        expected = tokenizer.decode(one_by_one(model, ids, 12), skip_special_tokens=True)
        assert answer.text == expected.strip(), len(ids)


def test_on_policy_answers_too(phi: Any) -> None:
    model, tokenizer = phi
    settings = OnPolicyConfig(share=1.0, temperature=0.0, max_tokens=6)
    rollout = Rollout(settings, (NEVER,), tokenizer.pad_token_id, 200, 0)
    rows = [row(25), row(LIMIT + 2), row(LIMIT + 30)]  # of 20, LIMIT - 3 and LIMIT + 25 to answer
    for own, before in zip(rollout.answer(model, rows, seed=1), rows, strict=True):
        asked = before.ids[:-5]
        assert own.ids == [*asked, *one_by_one(model, asked, 6)]


def test_a_teacher_of_this_kind_scores_every_row_as_if_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", "phi-4-mini")
    config = job(tmp_path, teacher={"model": str(folder)}, signals={"encoding": "dense"})
    scorer = LocalScorer(config)
    asked = [10, LIMIT + 10, 20]
    answer = {"role": "assistant", "content": "yes"}
    chats = [[{"role": "user", "content": "x" * length}, answer] for length in asked]
    rows = [Example(chat, (), str(i), "") for i, chat in enumerate(chats)]
    for example, result in zip(rows, scorer.score(rows), strict=True):
        assert isinstance(result, Scored)
        found = result.signals["dense"]
        assert isinstance(found, Dense)
        true_nV = true_logprobs(scorer.model, encoded(scorer.tokenizer, example))
        assert found.logprobs == pytest.approx(true_nV[:, : scorer.vocabulary], rel=4e-3, abs=4e-3)
