"""Answers out of a decoder against transformers' own `generate` and one whole forward pass."""

from pathlib import Path

import numpy as np
import pytest

from mwalimu.data.loading import load_causal_lm
from mwalimu.runtimes import Decoder, load_decoder
from mwalimu.runtimes.generation import greedy, read
from tests.families.families import LIMIT, make
from tests.tiny import make_tiny_model

PROMPTS = [[1, 9, 30, 41], [7], [20, 21, 22, 23, 24, 25, 26], [50, 9], [3, 3, 3]]


@pytest.fixture(scope="module", params=["llama", "phi3", "qwen2"])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), arch=request.param, spread=0.3)


@pytest.fixture(params=[1, 3])
def decoder(folder: Path, request: pytest.FixtureRequest) -> Decoder:
    return load_decoder(folder, slots=request.param)


def test_greedy_is_what_transformers_generates(folder: Path, decoder: Decoder) -> None:
    import torch

    model, _ = load_causal_lm(str(folder))
    ends = {10, 11, 12}
    done: list[int] = []
    answers = greedy(decoder, PROMPTS, ends=ends, max_tokens=24, on_done=done.append)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        whole = model.generate(
            torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=sorted(ends)
        )
        assert answer == whole[0, len(prompt) :].tolist()
    assert sorted(done) == list(range(len(PROMPTS)))
    assert {len(answer) for answer in answers} != {24}, "none of them met an end"


def test_reading_step_by_step_is_one_forward_pass(folder: Path, decoder: Decoder) -> None:
    import torch

    model, _ = load_causal_lm(str(folder))
    ids = [1, 9, 30, 41, 7, 7, 60, 12]
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(read(decoder, ids), expected, rtol=1e-4, atol=1e-5)


def test_crossing_the_limit_of_longrope_is_one_forward_pass(tmp_path: Path) -> None:
    import torch

    folder = make(tmp_path, "phi-3.5-mini")
    model, _ = load_causal_lm(str(folder))
    ids = [(7 * i) % 80 + 3 for i in range(LIMIT + 3)]
    decoder = load_decoder(folder)
    decoder.prefill(0, ids[:-5])
    with torch.inference_mode():
        for end in range(len(ids) - 5, len(ids)):
            expected = model(torch.tensor([ids[: end + 1]])).logits[0, -1].numpy()
            np.testing.assert_allclose(
                decoder.step({0: ids[end]})[0], expected, rtol=1e-4, atol=1e-5
            )


def test_a_released_slot_is_free_again(decoder: Decoder) -> None:
    first = decoder.prefill(0, [1, 9, 30])
    decoder.step({0: 17})
    decoder.release(0)
    np.testing.assert_array_equal(decoder.prefill(0, [1, 9, 30]), first)
