"""What is kept while a model generates, against plain forward passes in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.data.batched_generation import generate_batch
from mwalimu.data.kept import Kept, uniforms
from mwalimu.data.loading import load_causal_lm
from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
from tests.tiny import make_tiny_model

TEXTS = ["hi", "a longer question, is it not?", "42", "tell me about the lake " * 3]
ALL = Kept(("sampled", "topk", "dense", "realised"), draws=8, k=5, top_p=0.9, temperature=1.5)
KEYS = [bytes([i] * 16) for i in range(len(TEXTS))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[list[int]]]:
    folder = make_tiny_model(tmp_path_factory.mktemp("tiny"), spread=0.2, padding=9)
    model, tokenizer = load_causal_lm(str(folder))
    prepare_tokenizer(tokenizer)
    with torch.no_grad():
        model.lm_head.weight[-9:] = 0  # hardly ever the best, as in a model that was trained
    chats = [[{"role": "user", "content": text}] for text in TEXTS]
    return model, tokenizer, [encode_prompt(tokenizer, chat) for chat in chats]


def answers_of(model: tuple[Any, Any, list[list[int]]], kept: Kept | None, **options: Any) -> Any:
    """Each ends at its first letter, whichever: a random model hardly ever says its end."""
    options.setdefault("ends", [i for i in range(7, 60) if i % 3])
    return generate_batch(*model, kept=kept, keys=KEYS, **{"max_tokens": 12} | options)


def logprobs(model: Any, prompt: list[int], ids: Any, vocabulary: int, temperature: float) -> Any:
    with torch.no_grad():
        output = model.double()(input_ids=torch.tensor([prompt + list(ids)]), use_cache=False)
    model.float()
    logits_nV = output.logits[0, len(prompt) - 1 : -1, :vocabulary] / temperature
    return logits_nV.log_softmax(1).numpy()


@pytest.mark.parametrize("temperature", [0.0, 1.2])
def test_every_pass_of_an_answer_is_kept_up_to_its_end(model: Any, temperature: float) -> None:
    answers = answers_of(model, ALL, temperature=temperature)
    lm, tokenizer, prompts = model
    size = len(tokenizer)
    assert len({len(answer.ids) for answer in answers}) > 1
    for answer, prompt, key in zip(answers, prompts, KEYS, strict=True):
        kept, n = answer.distribution, len(answer.ids)
        assert n == answer.tokens and {len(array) for array in kept.values()} == {n}
        warm_nV = logprobs(lm, prompt, answer.ids, size, ALL.temperature)
        plain_nV = logprobs(lm, prompt, answer.ids, size, 1.0)
        own = plain_nV[np.arange(n), answer.ids]
        assert kept["realised"] == pytest.approx(own, abs=1e-4)
        assert kept["dense"] == pytest.approx(warm_nV, rel=2e-3)
        mass_nV = np.exp(warm_nV).cumsum(1)
        for place, draws_D in enumerate(uniforms(key, n, 8)):
            expected = np.searchsorted(mass_nV[place], draws_D, "right")
            assert kept["draws"][place].tolist() == expected.tolist()
            first = kept["sizes"][place]
            best = np.argsort(-warm_nV[place])[:first]
            assert kept["ids"][place, :first].tolist() == best.tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.2])
def test_the_answers_are_the_same_with_and_without(model: Any, temperature: float) -> None:
    plain = answers_of(model, None, temperature=temperature, top_logprobs=3)
    kept = answers_of(model, ALL, temperature=temperature, top_logprobs=3)
    assert [(a.text, a.tokens, a.scores) for a in plain] == [
        (a.text, a.tokens, a.scores) for a in kept
    ]
    assert all(answer.distribution is None for answer in plain)


def test_an_answer_that_was_cut_keeps_nothing(model: Any) -> None:
    for answer in answers_of(model, ALL, ends=[2], max_tokens=1):
        assert answer.distribution is None and not answer.ids
    free = answers_of(model, None, ends=[2])[0].text
    (first, *_) = answers_of(model, ALL, ends=[2], stop=[free[2:4]])
    assert first.stopped and first.distribution is None
