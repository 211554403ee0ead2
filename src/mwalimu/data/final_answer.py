"""Where reasoning ends and the answer begins: one rule for the teacher's text and its grading."""

from __future__ import annotations

import re

MARK = "Answer:"
_LAST = re.compile(r"^[ \t>*_#]*answer[*_]*:[*_]*[ \t]*", re.IGNORECASE | re.MULTILINE)


def split_final_answer(text: str) -> tuple[str, str] | None:
    """(reasoning, answer) at the last line that begins with the mark; None if no line does."""
    marks = list(_LAST.finditer(text))
    if not marks:
        return None
    return text[: marks[-1].start()].strip(), text[marks[-1].end() :].strip()


def final_answer(text: str) -> str:
    """What is to be graded: the part behind the mark, or the whole text where there is none."""
    parts = split_final_answer(text)
    return parts[1] if parts else text
