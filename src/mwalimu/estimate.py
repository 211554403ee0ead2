"""What a job will take, before it takes it: calls, tokens, dollars, memory. Spends nothing.

Tokens are counted with the student's tokenizer where it is on this machine, else taken as a
quarter of the characters; answers are assumed as long as the gold answers where there are some,
else as `teacher.max_tokens`. Every assumption is printed beside its number.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mwalimu.config import Config
from mwalimu.data.readers import load_records
from mwalimu.data.record import Record

CHARACTERS_PER_TOKEN = 4
ADAM_BYTES = 16  # fp32 weight, gradient and two moments, a trained parameter
FROZEN_BYTES = 2  # bf16
SAMPLE = 500  # rows whose tokens are counted; the rest is taken to be alike


@dataclass(frozen=True, slots=True)
class Estimate:
    calls: int
    prompt_tokens: int
    answer_tokens: int
    answer_basis: str
    token_basis: str
    usd: float | None
    training_tokens: int
    student_parameters: int | None
    training_gib: float | None

    def lines(self) -> list[str]:
        usd = "unknown: set teacher.usd_per_million_input and _output"
        memory = "unknown: the student is not on this machine"
        if self.usd is not None:
            usd = f"${self.usd:,.2f}"
        if self.training_gib is not None and self.student_parameters is not None:
            memory = (
                f"{self.training_gib:.2f} GiB for weights, gradients and optimiser of "
                f"{self.student_parameters / 1e6:,.1f} M parameters, activations not counted"
            )
        return [
            f"teacher calls:    {self.calls:,} at most (duplicates and stored answers are free)",
            f"prompt tokens:    {self.prompt_tokens:,} ({self.token_basis})",
            f"answer tokens:    {self.answer_tokens:,} ({self.answer_basis})",
            f"cost:             {usd}",
            f"training tokens:  {self.training_tokens:,} over all epochs",
            f"training memory:  {memory}",
        ]


def estimate(config: Config) -> Estimate:
    """Raises DataError for bad rows, as `run` would."""
    rows = _rows(config)
    count, token_basis = _counter(config.student.model)
    sample = rows[:SAMPLE]
    prompt = fmean(count("\n".join(m.content for m in row.messages)) for row in sample)
    answer, answer_basis = _answer_tokens(config, sample, count)
    prompt_tokens, answer_tokens = round(prompt * len(rows)), round(answer * len(rows))
    parameters = _parameters(Path(config.student.model))
    return Estimate(
        calls=len(rows),
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        answer_basis=answer_basis,
        token_basis=token_basis,
        usd=_usd(config, prompt_tokens, answer_tokens),
        training_tokens=(prompt_tokens + answer_tokens) * config.finetune.epochs,
        student_parameters=parameters,
        training_gib=_training_gib(config, parameters),
    )


def _rows(config: Config) -> list[Record]:
    train = load_records(config.data.train, task=config.task, split="train")
    rows = train[: config.data.max_rows]
    if config.data.validation:
        rows += load_records(config.data.validation, task=config.task, split="validation")
    return rows


def _counter(student: str) -> tuple[Callable[[str], int], str]:
    if (Path(student) / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(Path(student) / "tokenizer.json"))
        return lambda text: len(tokenizer.encode(text).ids), "the student's tokenizer"
    basis = f"{CHARACTERS_PER_TOKEN} characters a token; the tokenizer is not on this machine"
    return lambda text: -(-len(text) // CHARACTERS_PER_TOKEN), basis


def _answer_tokens(
    config: Config, sample: list[Record], count: Callable[[str], int]
) -> tuple[float, str]:
    gold = [count(row.reference) for row in sample if row.reference is not None]
    if gold:
        return fmean(gold), "as long as the gold answers"
    return float(config.teacher.max_tokens), "at most: teacher.max_tokens each"


def _usd(config: Config, prompt_tokens: int, answer_tokens: int) -> float | None:
    teacher = config.teacher
    if teacher.resolved_kind != "openai_compatible":
        return 0.0
    return teacher.usd(prompt_tokens, answer_tokens)


def _parameters(student: Path) -> int | None:
    """From the safetensors headers; from the config's shape for a student without weights."""
    if not (student / "config.json").is_file():
        return None
    total = 0
    for path in student.glob("*.safetensors"):
        with open(path, "rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        total += sum(_size(t["shape"]) for k, t in header.items() if k != "__metadata__")
    return total or _parameters_of_config(student)


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _parameters_of_config(student: Path) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(student, local_files_only=True)
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())


def _training_gib(config: Config, parameters: int | None) -> float | None:
    if parameters is None:
        return None
    if config.student.method == "full":
        return parameters * ADAM_BYTES / 2**30
    # An adapter of rank r on every linear layer holds about 2 r / hidden of the weights: below
    # 3 % for the ranks in use, counted as that.
    return parameters * (FROZEN_BYTES + 0.03 * ADAM_BYTES) / 2**30
