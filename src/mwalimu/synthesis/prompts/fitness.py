"""Whether a text that a teacher wrote can be a prompt at all. Pure."""

from __future__ import annotations

import re

MIN_WORDS = 2
# What rewriting leaves behind when it goes wrong (Xu et al. 2023, section 3.2), and a refusal.
_LEFTOVERS = re.compile(r"#?(?:given|rewritten|created|new) prompt#?\b", re.IGNORECASE)
_REFUSAL = re.compile(
    r"(?:i['\u2019]m sorry|i am sorry|sorry,|as an ai\b"
    r"|i can(?:no|['\u2019])t (?:help|assist|write))",
    re.IGNORECASE,
)
_SPACELESS = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")
_WORD = re.compile(r"\w")


def why_not(text: str, most_words: int) -> str:
    """What is wrong with it; "" if nothing is."""
    if not _WORD.search(text):
        return "has no words"
    words = len(text.split())
    if words < MIN_WORDS and not _SPACELESS.search(text):
        return "is one word"
    if words > most_words:
        return f"has more than {most_words} words"
    if _LEFTOVERS.search(text):
        return "speaks of the rewriting itself"
    if _REFUSAL.match(text):
        return "is a refusal"
    return ""
