"""What training will take: the tokens that the student sees, and the memory of its weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.config import Config
from mwalimu.estimate.plan import Plan
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.spans import Span, rate
from mwalimu.estimate.survey import Survey
from mwalimu.estimate.tokens import find_tokenizer, size_of, student_counter

ADAM_BYTES = 16  # fp32 weight, gradient and two moments, a trained parameter
FROZEN_BYTES = 2  # bf16


@dataclass(frozen=True, slots=True)
class Training:
    """`tokens` over all epochs; memory without activations; None where the student is not here."""

    tokens: Span
    basis: str
    parameters: int | None
    gib: float | None


def training_side(plan: Plan, survey: Survey, first: Rates) -> Training:
    """`first` are the rates of the first teacher, whose answers stand for all that is learned."""
    config, trained = plan.config, survey.trained
    if plan.user is None:
        prompt_a_byte, basis = _counted(plan, survey)
        prompts = prompt_a_byte * trained.size
    else:  # the student sees the conversations that the teacher saw grow
        prompts = first.prompt_a_byte * trained.size + first.prompt_more * trained.requests
        basis = "as the teacher's prompts and answers"
    answers = plan.turns * first.answer * trained.requests
    parameters = _parameters(config.student.model)
    return Training(
        (prompts + answers) * config.finetune.epochs, basis, parameters, _gib(config, parameters)
    )


def _counted(plan: Plan, survey: Survey) -> tuple[Span, str]:
    """Tokens of the student for a byte of the prompts as the user wrote them."""
    counter = student_counter(plan.config.student.model)
    tokens, sizes = list[float](), list[float]()
    for record in survey.sample:
        questions = plan.questions(record)
        tokens.append(sum(counter.chat(question, record.tools) for question in questions))
        sizes.append(sum(size_of(question, record.tools) for question in questions))
    return rate(tokens, sizes) * counter.factor, counter.basis


def _parameters(student: str) -> int | None:
    """From the safetensors headers; from the config's shape for a student without weights."""
    folder = _folder(student)
    if folder is None:
        return None
    total = 0
    for path in folder.glob("*.safetensors"):
        with open(path, "rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        total += sum(math.prod(t["shape"]) for k, t in header.items() if k != "__metadata__")
    return total or _parameters_of_config(folder)


def _folder(student: str) -> Path | None:
    """Where the student lies, be it in the local cache of the hub."""
    for folder in (Path(student), find_tokenizer(student)):
        if folder is not None and (folder / "config.json").is_file():
            return folder
    return None


def _parameters_of_config(student: Path) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(student, local_files_only=True)
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())


def _gib(config: Config, parameters: int | None) -> float | None:
    if parameters is None:
        return None
    if config.student.method == "full":
        return parameters * ADAM_BYTES / 2**30
    # An adapter of rank r on every linear layer holds about 2 r / hidden of the weights: below
    # 3 % for the ranks in use, counted as that.
    return parameters * (FROZEN_BYTES + 0.03 * ADAM_BYTES) / 2**30
