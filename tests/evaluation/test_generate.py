from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mwalimu.data.batched_generation import Answer
from mwalimu.data.record import Message, Record
from mwalimu.errors import StudentError
from mwalimu.evaluation.generate import UNANSWERED, Answerer, load_answerer
from tests.tiny import make_tiny_model

TEXTS = ["hi", "a longer question, is it not?", "42", "why", "tell me about the lake " * 3]


def records(texts: list[str]) -> list[Record]:
    return [Record(f"r{i}", "generic", (Message("user", t),)) for i, t in enumerate(texts)]


def load(folder: Path, *, max_tokens: int = 10) -> Answerer:
    return load_answerer(folder, max_tokens=max_tokens, trust_remote_code=False)


def greedy(model: Any, ids: list[int], steps: int) -> list[int]:
    """One prompt, no padding, no cache: the whole sequence again for each token."""
    sequence = list(ids)
    with torch.no_grad():
        for _ in range(steps):
            logits_V = model(input_ids=torch.tensor([sequence])).logits[0, -1]
            sequence.append(int(logits_V.argmax()))
    return sequence[len(ids) :]


def cut(ids: list[int], ends: frozenset[int]) -> tuple[list[int], bool]:
    for place, token in enumerate(ids):
        if token in ends:
            return ids[:place], True
    return ids, False


@pytest.mark.parametrize("arch", ["llama", "phi3", "qwen2"])
def test_batches_answer_like_greedy_one_at_a_time(tmp_path: Path, arch: str) -> None:
    answerer = load(make_tiny_model(tmp_path, arch=arch))
    prompts = answerer.encode(records(TEXTS))
    plain = [greedy(answerer.model, ids, 10) for ids in prompts]
    # Of random answers none would end: a token that some of them hold stands for the end.
    ((common, _),) = Counter(token for row in plain for token in set(row[1:])).most_common(1)
    answerer.ends = frozenset([common, answerer.tokenizer.eos_token_id])
    done: list[int] = []
    answers = answerer.answer_all(prompts, batch_size=2, on_batch=done.append)
    for row, answer in zip(plain, answers, strict=True):
        ids, stopped = cut(row, answerer.ends)
        text = answerer.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert answer == Answer(text, len(ids) + stopped, stopped)
    assert any(answer.stopped for answer in answers)
    assert done == [2, 4, 5]


def test_an_answer_depends_on_nothing_before_it(tmp_path: Path) -> None:
    answerer = load(make_tiny_model(tmp_path))
    prompts = answerer.encode(records(TEXTS))
    first = answerer.answer_all(prompts, batch_size=2, on_batch=lambda done: None)
    torch.rand(3)
    last = answerer.answer_all(prompts[::-1], batch_size=2, on_batch=lambda done: None)
    assert first == last[::-1]


def test_a_prompt_over_the_context_is_unanswered(tmp_path: Path) -> None:
    answerer = load(make_tiny_model(tmp_path))
    # user and assistant marks and the end of turn take 3 tokens, the answer 10, of 512
    prompts = answerer.encode(records(["x" * 600, "y" * 499, "z" * 500, "hi"]))
    assert answerer.fitting(prompts) == [1, 3]
    done: list[int] = []
    answers = answerer.answer_all(prompts, batch_size=8, on_batch=done.append)
    assert answers[0] == answers[2] == UNANSWERED
    assert answers[1].tokens == answers[3].tokens == 10
    assert done == [4]
    assert answerer.answer_all(prompts[:1], batch_size=8, on_batch=done.append) == [UNANSWERED]


def test_every_end_of_the_folder_ends(tmp_path: Path) -> None:
    answerer = load(make_tiny_model(tmp_path))
    answerer.model.generation_config.eos_token_id = [9, 11]
    again = Answerer(answerer.model, answerer.tokenizer, max_tokens=4)
    assert again.ends == {9, 11, answerer.tokenizer.eos_token_id}


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "nonsense"}'])
def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(StudentError, match="cannot be loaded") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_or_missing_weights_are_one_line(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({n: t for n, t in tensors.items() if "layers.1" not in n}, file, {"format": "pt"})
    with pytest.raises(StudentError, match=r"\d weights are missing, first model.layers.1"):
        load(folder)
    file.write_bytes(b"no tensors")
    with pytest.raises(StudentError, match="cannot be loaded") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
