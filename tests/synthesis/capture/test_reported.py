"""What a server's texts are worth: exact ids, or nothing."""

import math
from typing import Any

import numpy as np
import pytest

from mwalimu.signals import Realised, TopK
from mwalimu.synthesis.capture.reported import NO_DISTRIBUTION, OTHER_TOKENS, Reported
from mwalimu.teachers.base import TokenLogprob
from tests.tiny import make_tokenizer

TOKENIZER = make_tokenizer()
TARGETS = [*TOKENIZER.convert_tokens_to_ids(["o", "k"]), TOKENIZER.eos_token_id]
NAMES = ("topk", "realised")
LENGTHS = [1, 1, 0]


def token(text: str, p: float, **others: float) -> TokenLogprob:
    top = ((text, math.log(p)), *((t, math.log(q)) for t, q in others.items()))
    return TokenLogprob(text, math.log(p), top)


def read(*scores: TokenLogprob, names: Any = NAMES) -> Any:
    reported = Reported(TOKENIZER, len(TOKENIZER), 4, 1.0)
    return reported.signals(scores, TARGETS, names, LENGTHS)


O, K = token("o", 0.5, x=0.3), token("k", 0.75, y=0.125, z=0.0625)  # noqa: E741
END = token("<|end|>", 0.9)


def test_texts_become_ids() -> None:
    found = read(O, K, END)
    topk, realised = found["topk"], found["realised"]
    assert isinstance(topk, TopK) and isinstance(realised, Realised)
    expected = ["o", "x", "k", "y", "z", "<|end|>"]
    assert topk.ids.tolist() == TOKENIZER.convert_tokens_to_ids(expected)
    assert topk.sizes.tolist() == [2, 3, 1]
    assert np.exp(topk.logprobs) == pytest.approx([0.5, 0.3, 0.75, 0.125, 0.0625, 0.9])
    assert np.exp(topk.tail) == pytest.approx([0.2, 0.0625, 0.1])
    assert np.exp(realised.logprobs) == pytest.approx([0.5, 0.75, 0.9])
    assert realised.byte_lengths.tolist() == LENGTHS


@pytest.mark.parametrize("unspelled", [False, True])
def test_an_end_that_is_not_reported_is_certain_or_left_out(unspelled: bool) -> None:
    found = read(O, K, *([token("", 0.9)] if unspelled else []))
    assert found["topk"].ids[-1] == TOKENIZER.eos_token_id and found["topk"].sizes[-1] == 1
    assert found["topk"].logprobs[-1] == 0 and found["topk"].tail[-1] == -np.inf
    assert len(found["realised"].logprobs) == 2


def test_numbers_of_tokens_are_as_good_as_texts() -> None:
    numbered = [
        TokenLogprob(
            f"token_id:{i}",
            score.logprob,
            tuple((f"token_id:{TOKENIZER.convert_tokens_to_ids(t)}", v) for t, v in score.top),
        )
        for i, score in zip(TARGETS, (O, K, END), strict=True)
    ]
    plain, found = read(O, K, END)["topk"], read(*numbered)["topk"]
    assert (plain.ids == found.ids).all() and (plain.tail == found.tail).all()


def test_an_alternative_that_names_no_token_is_in_the_tail() -> None:
    found = read(token("o", 0.5, nobody=0.25, x=0.125), K, END)["topk"]
    assert found.sizes[0] == 2 and math.exp(found.tail[0]) == pytest.approx(0.375)


def test_a_token_beyond_the_best_is_kept_all_the_same() -> None:
    chosen = TokenLogprob("o", math.log(0.01), (("x", math.log(0.6)), ("y", math.log(0.3))))
    found = read(chosen, K, END)["topk"]
    assert found.ids[:3].tolist() == TOKENIZER.convert_tokens_to_ids(["x", "y", "o"])
    never = TokenLogprob("o", -9999.0, (("x", math.log(0.6)), ("y", math.log(0.3))))
    assert read(never, K, END)["topk"].sizes[0] == 2


@pytest.mark.parametrize(
    "scores",
    [(O, token("x", 0.9), END), (O,), (O, K, END, END), (O, token("nobody", 0.9), END), (K, O)],
)
def test_other_tokens_are_refused(scores: tuple[TokenLogprob, ...]) -> None:
    assert read(*scores) == OTHER_TOKENS


@pytest.mark.parametrize(
    "score",
    [
        token("o", 0.9, x=0.6),
        TokenLogprob("o", 0.5),
        TokenLogprob("o", math.nan),
    ],
)
def test_what_is_no_distribution_is_refused(score: TokenLogprob) -> None:
    assert read(score, K, END) == NO_DISTRIBUTION


def test_without_proved_lengths_there_is_no_realised() -> None:
    reported = Reported(TOKENIZER, len(TOKENIZER), 4, 1.0)
    found = reported.signals([O, K, END], TARGETS, NAMES, None)
    assert isinstance(found, dict) and found.keys() == {"topk"}
