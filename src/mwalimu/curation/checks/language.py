"""An answer in another language than the one expected (py3langid, extra `curate`).

Short texts tell too little and are not judged, and neither are labels and names in a span of a
context. Code, addresses and numbers have no language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache

from mwalimu.config import LanguageConfig
from mwalimu.curation.row import SHORT_ANSWERS, Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault
from mwalimu.errors import ConfigError, MissingDependency

Identify = Callable[[str], dict[str, float]]
"""A text to the probability of each language, by its ISO 639-1 code."""

_SPEECHLESS = re.compile(r"```.*?(?:```|\Z)|`[^`]*`|https?://\S+|\S+@\S+|[\d_#*|<>=]+", re.DOTALL)


def language(answer: Answered, limits: LanguageConfig, identify: Identify) -> Verdict:
    """With no language given, that of the prompt is expected, where the prompt is long enough."""
    if answer.task in SHORT_ANSWERS:
        return KEPT
    text = spoken(answer.text)
    if len(text) < limits.min_characters:
        return KEPT
    expected: Collection[str] = limits.expected
    if not expected:
        asked = spoken(answer.prompt)
        if len(asked) < limits.min_characters:
            return KEPT
        likely = identify(asked)
        expected = [code for code, p in likely.items() if p >= limits.min_probability]
    found = identify(text)
    if sum(found.get(code, 0.0) for code in expected) >= limits.min_probability:
        return KEPT
    return fault("another language", max(found, key=lambda code: found[code]))


def spoken(text: str) -> str:
    """Without what has no language, in single spaces."""
    return " ".join(_SPEECHLESS.sub(" ", text).split())


@cache
def identifier() -> Identify:
    """The library's model of 97 languages, read once. Raises MissingDependency without it."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingDependency(
            "py3langid is not installed",
            where="curate.checks, language",
            fix="pip install 'mwalimu[curate]'",
        ) from None
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda text: {code: float(p) for code, p in model.rank(text)}


def require_known(expected: Collection[str]) -> None:
    """Raises ConfigError for a code that the library does not know."""
    known = identifier()("")
    if unknown := [code for code in expected if code not in known]:
        raise ConfigError(
            f"{unknown[0]!r} is no language that can be told apart",
            where="curate.language.expected",
            fix=f"use codes of {', '.join(sorted(known))}",
        )
