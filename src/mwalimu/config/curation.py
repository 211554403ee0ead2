"""Which of the teacher's accepted answers are worth learning: the checks and their thresholds.

Imports no torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from mwalimu.config.section import Section
from mwalimu.config.teacher import TeacherConfig

CheckName = Literal[
    "special_tokens",
    "leaked",
    "refusal",
    "copied",
    "truncation",
    "length",
    "label",
    "number",
    "reference",
    "schema",
    "language",
    "consistency",
    "judge",
]
CHECKS: tuple[CheckName, ...] = get_args(CheckName)


class SpecialTokensConfig(Section):
    """Marks of a chat template that stand in an answer as text."""

    extra: tuple[str, ...] = Field((), description="marks of your own models, beside the usual")


class RefusalConfig(Section):
    """Answers that decline."""

    extra: tuple[str, ...] = Field(
        (), description="regular expressions that a refusal begins with, beside the usual"
    )

    @field_validator("extra")
    @classmethod
    def _readable(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return patterns


class TruncationConfig(Section):
    """Answers that break off."""

    min_sentences: int = Field(
        2, ge=0, description="that end with a stop, before one without it is taken for a piece"
    )


class CopiedConfig(Section):
    """A prompt of fewer words may well stand in an honest answer."""

    min_words: int = Field(12, ge=2, description="of a prompt that is looked for in the answer")
    of_prompt: float = Field(
        0.9, gt=0, le=1, description="of the prompt's words, in one piece anywhere in the answer"
    )
    of_prompt_alone: float = Field(
        0.5, gt=0, le=1, description="the same, where the answer holds nothing else"
    )


class LengthConfig(Section):
    """A limit that is not set is none; a ratio is of characters, answer to prompt."""

    min_words: int | None = Field(None, ge=1, description="of the answer")
    max_words: int | None = Field(None, ge=1, description="of the answer")
    min_characters: int | None = Field(None, ge=1, description="of the answer")
    max_characters: int | None = Field(None, ge=1, description="of the answer")
    min_ratio: float | None = Field(
        None, gt=0, description="characters of the answer to those of the prompt"
    )
    max_ratio: float | None = Field(
        None, gt=0, description="characters of the answer to those of the prompt"
    )

    @model_validator(mode="after")
    def _possible(self) -> LengthConfig:
        for what in ("words", "characters", "ratio"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{what} {low} is above max_{what} {high}")
        return self

    @property
    def is_set(self) -> bool:
        return any(limit is not None for limit in self.model_dump().values())


class LabelConfig(Section):
    """Answers of a classification that are no label."""

    known: tuple[str, ...] = Field((), description="all labels; from the gold rows if empty")


class ReferenceConfig(Section):
    """Answers to rows that have a gold answer are compared with it."""

    min_f1: float = Field(0.5, gt=0, le=1, description="of words, for task qa")


class LanguageConfig(Section):
    """Answers in another language than is expected."""

    expected: tuple[str, ...] = Field(
        (), description="ISO 639-1 codes such as en, sw; the prompt's own language if empty"
    )
    min_characters: int = Field(60, ge=1, description="shorter texts are not judged")
    min_probability: float = Field(
        0.05, gt=0, lt=1, description="of the expected languages together; less is rejected"
    )


class ConsistencyConfig(Section):
    """Over the samples of one prompt; `generate.samples` says how many there are."""

    min_agreement: float | None = Field(
        None, gt=0, le=1, description="share of the samples that give the majority's answer"
    )


class JudgeConfig(Section):
    """A model that scores every answer from 1 to 10."""

    teacher: TeacherConfig | None = Field(
        None, description="the section judge, or the ensemble's, if unset"
    )
    min_score: int = Field(6, ge=1, le=10, description="an answer below it is left out")


class CurateConfig(Section):
    """`auto` takes the checks that spare honest rows, and those for which something is set here."""

    checks: Literal["auto"] | tuple[CheckName, ...] = Field(
        "auto", description="or a list of names, in the order in which they are asked"
    )
    min_ok: float = Field(0.5, ge=0, le=1, description="kept share below this is a failure")
    special_tokens: SpecialTokensConfig = SpecialTokensConfig()
    refusal: RefusalConfig = RefusalConfig()
    truncation: TruncationConfig = TruncationConfig()
    copied: CopiedConfig = CopiedConfig()
    length: LengthConfig = LengthConfig()
    label: LabelConfig = LabelConfig()
    reference: ReferenceConfig = ReferenceConfig()
    json_schema: Path | None = Field(None, description="a file, of check schema")
    language: LanguageConfig = LanguageConfig()
    consistency: ConsistencyConfig = ConsistencyConfig()
    judge: JudgeConfig = JudgeConfig()

    @field_validator("checks", mode="before")
    @classmethod
    def _known(cls, checks: Any) -> Any:
        names = checks if isinstance(checks, list | tuple) else () if checks == "auto" else [checks]
        for name in names:
            if name not in CHECKS:
                raise ValueError(f"{name!r} is no check; there are auto and {', '.join(CHECKS)}")
            if list(names).count(name) > 1:
                raise ValueError(f"{name} is named twice")
        return "auto" if checks == "auto" else tuple(names)
