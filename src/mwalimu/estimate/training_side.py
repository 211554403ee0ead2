"""What training will take: the tokens that the student sees, its parameters, and the memory."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.estimate.memory_side import Memory, Room, memory_side
from mwalimu.estimate.models_here import folder_of, known_shape
from mwalimu.estimate.plan import Plan
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.spans import Span, rate
from mwalimu.estimate.survey import Survey
from mwalimu.estimate.tokens import size_of, student_counter
from mwalimu.registry.shape import ADAM_BYTES, FROZEN_BYTES


@dataclass(frozen=True, slots=True)
class Training:
    """`tokens` over all epochs; None for what is not known of the student.

    `least` are the bytes of weights, gradients and moments alone, which depend on no shape.
    """

    tokens: Span
    basis: str
    parameters: int | None
    least: float | None
    memory: Memory | None


def training_side(plan: Plan, survey: Survey, first: Rates, room: Room) -> Training:
    """`first` are the rates of the first teacher, whose answers stand for all that is learned."""
    config, trained = plan.config, survey.trained
    if plan.user is None:
        prompt_a_byte, basis = _counted(plan, survey)
        prompts = prompt_a_byte * trained.size
        longest = prompt_a_byte * survey.longest
    else:  # the student sees the conversations that the teacher saw grow
        prompts = first.prompt_a_byte * trained.size + first.prompt_more * trained.requests
        basis = "as the teacher's prompts and answers"
        longest = first.prompt_a_byte * survey.longest + first.prompt_more
    answers = plan.turns * first.answer * trained.requests
    tokens = prompts + answers
    parameters = _parameters(config.student.model)
    each = FROZEN_BYTES[config.student.bits] if config.student.adapts else ADAM_BYTES
    return Training(
        tokens * config.finetune.epochs,
        basis,
        parameters,
        None if parameters is None else float(parameters * each),
        memory_side(config, longest, first.answer, tokens.mid, room),
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
    """From the safetensors headers; else from the shape, as far as it is known."""
    folder = folder_of(student)
    total = 0
    for path in folder.glob("*.safetensors") if folder is not None else ():
        with open(path, "rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        total += sum(math.prod(t["shape"]) for k, t in header.items() if k != "__metadata__")
    if total:
        return total
    if shape := known_shape(student):
        return shape.parameters
    return None if folder is None else _parameters_of_config(folder)


def _parameters_of_config(student: Path) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(student, local_files_only=True)
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())
