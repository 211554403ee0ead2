"""An arm's answers to the test rows: greedy, in batches of prompts of like length.

Prompts are encoded as in training. Batches follow from the rows alone, so an arm answers the same
whatever was evaluated before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mwalimu.data.batched_generation import Answer, generate_batch
from mwalimu.data.loading import CannotLoad, load_causal_lm
from mwalimu.data.record import Record
from mwalimu.data.tokenize import encode_prompt, end_of_turn_id, prepare_tokenizer
from mwalimu.errors import StudentError

UNANSWERED = Answer("", 0, False)


class Answerer:
    """A loaded model with its tokenizer; `max_tokens` bounds each answer."""

    def __init__(self, model: Any, tokenizer: Any, *, max_tokens: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.ends = _ends(model, tokenizer)

    def encode(self, records: Iterable[Record]) -> list[list[int]]:
        return [encode_prompt(self.tokenizer, r.messages, r.tools) for r in records]

    def fitting(self, prompts: Sequence[list[int]]) -> list[int]:
        """The indices of the prompts that leave room for an answer in the model's context."""
        config = self.model.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None) or 1 << 30
        return [i for i, ids in enumerate(prompts) if len(ids) <= context - self.max_tokens]

    def answer(self, prompts: Sequence[list[int]]) -> list[Answer]:
        """One batch; every prompt must fit."""
        return generate_batch(
            self.model, self.tokenizer, prompts, ends=self.ends, max_tokens=self.max_tokens
        )

    def answer_all(
        self, prompts: Sequence[list[int]], *, batch_size: int, on_batch: Callable[[int], None]
    ) -> list[Answer]:
        """Answers in the order of `prompts`; one that does not fit gets `UNANSWERED`.

        `on_batch` is told how many prompts are done.
        """
        answers = [UNANSWERED] * len(prompts)
        fitting = self.fitting(prompts)
        done = len(prompts) - len(fitting)
        for batch in _batches(prompts, fitting, batch_size):
            for i, answer in zip(batch, self.answer([prompts[i] for i in batch]), strict=True):
                answers[i] = answer
            done += len(batch)
            on_batch(done)
        return answers


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


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer in use: a base model ends with EOS, not with a turn's end."""
    known = getattr(model.generation_config, "eos_token_id", None)
    listed = known if isinstance(known, list) else [] if known is None else [known]
    return frozenset([*listed, end_of_turn_id(tokenizer), tokenizer.eos_token_id])
