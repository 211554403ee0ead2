"""What a planned request takes: requests, tokens and seconds, and where each number comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from mwalimu.estimate.spans import Span


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one planned request: the requests made of it, their tokens, their seconds in a row.

    `answer` is the length of a single answer, in tokens, `answers` that of all. Prompt tokens are
    `prompt_a_byte` of the planned prompt and `prompt_more`; `seconds` is None where nothing is
    known. `basis` tells how "requests", "prompt", "answer" and "time" are known.
    """

    requests: Span
    prompt_a_byte: Span
    prompt_more: Span
    answers: Span
    answer: Span
    seconds: Span | None
    basis: dict[str, str] = field(default_factory=dict)
