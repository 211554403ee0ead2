"""An answer that says the prompt again.

Two forms: nearly the whole prompt in one piece anywhere in the answer, and an answer that is
nothing but a piece of at least half of the prompt. A span of a context, or a sentence taken over
into a summary, is neither.
"""

from __future__ import annotations

import math
import re

from mwalimu.config import CopiedConfig
from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault

_WORD = re.compile(r"\w+")


def copied(answer: Answered, limits: CopiedConfig) -> Verdict:
    """Case, punctuation and line breaks do not matter. Linear in the answer for each window."""
    prompt, text = _words(answer.prompt), _words(answer.text)
    if len(prompt) < limits.min_words:
        return KEPT
    # Blanks at both ends, so that only whole words are found.
    said, asked = f" {' '.join(text)} ", f" {' '.join(prompt)} "
    window = math.ceil(limits.of_prompt * len(prompt))
    for start in range(len(prompt) - window + 1):
        if f" {' '.join(prompt[start : start + window])} " in said:
            return fault("the prompt again", window / len(prompt))
    share = len(text) / len(prompt)
    if share >= limits.of_prompt_alone and said in asked:
        return fault("a piece of the prompt", share)
    return KEPT


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
