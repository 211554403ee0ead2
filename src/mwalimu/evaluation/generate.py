"""An arm's answers to the test rows: greedy, in batches of prompts of like length.

Prompts are encoded as in training. Batches follow from the rows alone, so an arm answers the same
whatever was evaluated before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mwalimu.data.batched_generation import Answer, generate_batch, on_device
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
        return [encode_prompt(self.tokenizer, record.messages) for record in records]

    def fitting(self, prompts: Sequence[list[int]]) -> list[int]:
        """The indices of the prompts that leave room for an answer in the model's context."""
        context = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30
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
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {"local_files_only": folder.is_dir(), "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
        model, info = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype="auto", use_safetensors=True, output_loading_info=True, **options
        )
    except Exception as error:  # a broken folder can raise nearly anything
        raise _cannot_load(folder, str(error) or type(error).__name__) from error
    if missing := sorted(info["missing_keys"]):
        # transformers would fill them with chance
        raise _cannot_load(folder, f"{len(missing)} weights are missing, first {missing[0]}")
    prepare_tokenizer(tokenizer)
    return Answerer(on_device(model).eval(), tokenizer, max_tokens=max_tokens)


def _cannot_load(folder: Path, why: str) -> StudentError:
    return StudentError(
        f"cannot be loaded for evaluation ({why.strip().splitlines()[0][:200]})",
        where=str(folder),
        fix="check that the folder is whole; remove it to have it made again",
    )


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
