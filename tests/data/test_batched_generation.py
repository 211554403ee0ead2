"""Log-probabilities against plain forward passes in float64, and texts that stop an answer."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.data.batched_generation import Answer, generate_batch, read_ids
from mwalimu.data.loading import CannotLoad, load_causal_lm
from mwalimu.data.token_scores import TokenTexts
from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
from tests.tiny import make_tiny_model

TEXTS = ["hi", "a longer question, is it not?", "42", "tell me about the lake " * 3]
K = 4


def load(folder: Path, *, arch: str = "llama") -> tuple[Any, Any, list[list[int]]]:
    """A tiny model that is sure of something: random ones are nearly uniform."""
    model, tokenizer = load_causal_lm(str(make_tiny_model(folder, arch=arch)))
    prepare_tokenizer(tokenizer)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    chats = [[{"role": "user", "content": text}] for text in TEXTS]
    return model, tokenizer, [encode_prompt(tokenizer, chat) for chat in chats]


def spelled(tokenizer: Any, answer: Answer) -> list[int]:
    """The tokens of an answer by their texts: each is one character, or a control token."""
    assert answer.scores is not None
    return [int(tokenizer.convert_tokens_to_ids(score.token)) for score in answer.scores]


def reference(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """[answer, V] natural log-probabilities of one row, in float64, without padding or cache."""
    with torch.no_grad():
        logits = model.double()(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits
    model.float()
    return logits[0, len(prompt) - 1 : -1].log_softmax(-1)


def check_scores(model: Any, tokenizer: Any, prompts: list[list[int]], answers: Any) -> None:
    texts = TokenTexts(tokenizer)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = spelled(tokenizer, answer)
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == answer.text
        expected_TV = reference(model, prompt, ids)
        assert len(answer.scores) == len(ids) == answer.tokens - answer.stopped > 0
        for score, token, row_V in zip(answer.scores, ids, expected_TV, strict=True):
            assert score.logprob == pytest.approx(float(row_V[token]), abs=1e-5)
            best = row_V.topk(K)
            assert [text for text, _ in score.top] == [texts[i] for i in best.indices.tolist()]
            assert [value for _, value in score.top] == pytest.approx(
                best.values.tolist(), abs=1e-5
            )


@pytest.mark.parametrize("temperature", [0.0, 1.7])
@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_scores_are_the_models_own_whatever_the_sampling(
    tmp_path: Path, arch: str, temperature: float
) -> None:
    model, tokenizer, prompts = load(tmp_path, arch=arch)
    model.generation_config.repetition_penalty = 1.5
    options: dict[str, Any] = {"max_tokens": 12, "temperature": temperature, "top_p": 0.8}
    unended = generate_batch(model, tokenizer, prompts, ends=[1], top_logprobs=K, **options)
    check_scores(model, tokenizer, prompts, unended)
    # Of random answers none would end: a token that some of them hold stands for the end.
    rows = [spelled(tokenizer, answer) for answer in unended]
    ((common, _),) = Counter(t for row in rows for t in set(row[1:])).most_common(1)
    ends = [1, common]
    answers = generate_batch(model, tokenizer, prompts, ends=ends, top_logprobs=K, **options)
    assert any(a.stopped for a in answers) and any(a.tokens > 1 for a in answers)
    scored = [pair for pair in zip(prompts, answers, strict=True) if pair[1].scores]
    check_scores(model, tokenizer, [p for p, _ in scored], [a for _, a in scored])
    plain = generate_batch(model, tokenizer, prompts, ends=ends, **options)
    assert plain == [answer._replace(scores=None) for answer in answers]
    assert not model._forward_hooks


def test_no_more_alternatives_than_there_are_tokens(tmp_path: Path) -> None:
    model, tokenizer, prompts = load(tmp_path)
    (answer,) = generate_batch(
        model, tokenizer, prompts[:1], ends=[1], max_tokens=2, top_logprobs=10**4
    )
    assert answer.scores is not None
    assert sum(float(torch.tensor(v).exp()) for _, v in answer.scores[0].top) == pytest.approx(1)


def test_a_stop_string_ends_and_is_cut_off(tmp_path: Path) -> None:
    model, tokenizer, prompts = load(tmp_path)
    options: dict[str, Any] = {"ends": [1], "max_tokens": 40, "temperature": 2.0}
    free = generate_batch(model, tokenizer, prompts, top_logprobs=1, **options)
    stop = ["no such text at all", free[1].text[7:9], free[3].text[30:33]]
    answers = generate_batch(model, tokenizer, prompts, stop=stop, top_logprobs=1, **options)
    for whole, answer in zip(free, answers, strict=True):
        places = [p for s in stop if (p := whole.text.find(s)) >= 0]
        if not places:
            assert answer == whole
            continue
        assert answer.stopped and answer.text == whole.text[: min(places)].strip()
        assert not any(s in answer.text for s in stop)
        assert whole.scores is not None and answer.scores is not None
        assert answer.scores == whole.scores[: len(answer.scores)]
        assert len(answer.scores) < answer.tokens < 40
    assert sum(answer.stopped for answer in answers) >= 2


def test_generation_goes_no_further_than_its_stop_strings(tmp_path: Path) -> None:
    model, tokenizer, prompts = load(tmp_path)
    (free,) = generate_batch(model, tokenizer, prompts[:1], ends=[1], max_tokens=40)
    passes = Counter[str]()
    model.register_forward_hook(lambda *_: passes.update(["pass"]))
    stop = free.text[4:6]
    (answer,) = generate_batch(model, tokenizer, prompts[:1], ends=[1], max_tokens=40, stop=[stop])
    assert passes["pass"] == answer.tokens < 40
    assert answer.text + stop == free.text[: len(answer.text) + len(stop)]


class Pieces:
    """A tokenizer whose tokens are texts of any length."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return "".join(self.pieces[i] for i in ids)


@pytest.mark.parametrize(
    ("pieces", "stop", "expected"),
    [
        (["one", " two", "\n\n", "three"], ["\n\n"], ("one two", 3, 2, True)),
        (["one", " two\n", "\nthree", "x"], ["\n\n"], ("one two", 3, 1, True)),
        (["one", " two\n", "\nthree", "x"], ["x", "wo"], ("one t", 2, 1, True)),
        (["one", "", "stop", "x"], ["stop"], ("one", 3, 2, True)),
        (["stop", "x"], ["stop"], ("", 1, 0, True)),
        (["one", "two"], ["stop"], ("onetwo", 2, 2, False)),
    ],
)
def test_reading(pieces: list[str], stop: list[str], expected: Any) -> None:
    tokenizer = Pieces(*pieces, "END")
    ids = list(range(len(pieces)))
    assert read_ids(tokenizer, ids, [99], stop) == expected
    text, tokens, kept, stopped = expected
    ended = expected if stopped else (text, tokens + 1, kept, True)
    assert read_ids(tokenizer, [*ids, len(pieces), 0], [len(pieces)], stop) == ended


def test_texts_of_tokens_add_up_in_a_tokenizer_that_drops_leading_spaces() -> None:
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "a": 1, "▁hello": 2, "▁world": 3, "<0xC3>": 4, "</s>": 5}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    texts = TokenTexts(tokenizer)
    assert tokenizer.decode([2]) == "hello"
    assert [texts[i] for i in (2, 3, 4, 5)] == [" hello", " world", "\ufffd", "</s>"]


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad) as caught:
        load_causal_lm(str(tmp_path))
    assert str(caught.value) and "\n" not in str(caught.value)
