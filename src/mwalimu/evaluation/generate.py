"""An arm's answers to the test rows: greedy, in batches of prompts of like length.

Prompts are encoded as in training. Batches follow from the rows alone, so an arm answers the same
whatever was evaluated before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mwalimu.data.batched_generation import Answer, generate_batch
from mwalimu.data.context import context_of
from mwalimu.data.loading import CannotLoad, load_causal_lm
from mwalimu.data.record import Record
from mwalimu.data.tokenize import encode_prompt, ending_ids, prepare_tokenizer
from mwalimu.errors import StudentError

UNANSWERED = Answer("", 0, False)


class Answering(ABC):
    """Whatever continues encoded prompts, of which `max_tokens` bounds each answer."""

    max_tokens: int

    @property
    @abstractmethod
    def context(self) -> int:
        """Tokens of prompt and answer together; no limit is a large number."""

    @abstractmethod
    def answer(self, prompts: Sequence[list[int]], *, tokens: int | None = None) -> list[Answer]:
        """One batch of at most `tokens` each, `max_tokens` by default; every prompt must fit."""

    def fitting(self, prompts: Sequence[list[int]]) -> list[int]:
        """The indices of the prompts that leave room for an answer in the model's context."""
        most = self.context - self.max_tokens
        return [i for i, ids in enumerate(prompts) if len(ids) <= most]

    def answer_all(
        self, prompts: Sequence[list[int]], *, batch_size: int, on_batch: Callable[[int], None]
    ) -> list[Answer]:
        """Answers in the order of `prompts`; one that does not fit gets `UNANSWERED`.

        `on_batch` is told how many prompts are done.
        """
        answers = [UNANSWERED] * len(prompts)
        done = len(prompts) - len(self.fitting(prompts))
        for batch, found in self.answer_batches(prompts, batch_size=batch_size, known=()):
            for i, answer in zip(batch, found, strict=True):
                answers[i] = answer
            done += len(batch)
            on_batch(done)
        return answers

    def answer_batches(
        self, prompts: Sequence[list[int]], *, batch_size: int, known: Container[int]
    ) -> Iterator[tuple[list[int], list[Answer]]]:
        """Row numbers and answers, batch by batch; one whose rows are all `known` is left out."""
        for batch in _batches(prompts, self.fitting(prompts), batch_size):
            if not all(i in known for i in batch):
                yield batch, self.answer([prompts[i] for i in batch])


class Answerer(Answering):
    """A loaded model with its tokenizer; `max_tokens` bounds each answer."""

    def __init__(self, model: Any, tokenizer: Any, *, max_tokens: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.ends = ending_ids(model.generation_config, tokenizer)

    def encode(self, records: Iterable[Record]) -> list[list[int]]:
        return [encode_prompt(self.tokenizer, r.messages, r.tools) for r in records]

    @property
    def context(self) -> int:
        return context_of(self.model.config)

    def answer(self, prompts: Sequence[list[int]], *, tokens: int | None = None) -> list[Answer]:
        most = self.max_tokens if tokens is None else tokens
        return generate_batch(self.model, self.tokenizer, prompts, ends=self.ends, max_tokens=most)


def load_answerer(folder: Path, *, max_tokens: int, trust_remote_code: bool) -> Answerer:
    """Loads a transformers folder or hub id for generation, on CUDA where there is one.

    Raises:
        StudentError: it cannot be loaded, in one line.
    """
    try:
        model, tokenizer = load_causal_lm(str(folder), trust_remote_code=trust_remote_code)
    except CannotLoad as error:
        raise StudentError(
            f"cannot be loaded for evaluation ({error})",
            where=str(folder),
            fix="check that the folder is whole; remove it to have it made again",
        ) from error
    prepare_tokenizer(tokenizer)
    return Answerer(model, tokenizer, max_tokens=max_tokens)


def _batches(
    prompts: Sequence[list[int]], fitting: list[int], batch_size: int
) -> Iterator[list[int]]:
    """Longest first: what does not fit the memory shows at once."""
    order = sorted(fitting, key=lambda i: (-len(prompts[i]), i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
