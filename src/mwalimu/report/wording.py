"""Wording and escaping: what is unknown is called so, and is never a zero."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mwalimu.report.plots import short_number

Row = dict[str, Any]

ARM_NOTES = {
    "teacher": "the model that answered the prompts",
    "student-before": "the student before any training",
    "student-labels": "the student trained on your labels alone",
    "student-text": "the student trained on the teacher's words without its probabilities",
    "student-distilled": "the student trained on the teacher's answers",
}
TEACHER, BEFORE, LABELS, TEXT, DISTILLED = ARM_NOTES
UNKNOWN = "unknown"
LONGEST = 700  # characters of an answer that is shown
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MARKDOWN = re.compile(r"[\\`*_|~$]|\](?=[(\[:])")


def _known(value: float | None, word: Callable[[float], str]) -> str:
    return UNKNOWN if value is None or not math.isfinite(value) else word(value)


def percent(value: float | None) -> str:
    return _known(value, lambda v: f"{100 * v:.1f} %")


def number(value: float | None, digits: int = 0) -> str:
    return _known(value, lambda v: f"{v:,.{digits}f}")


def ms(seconds: float | None) -> str:
    return _known(seconds, lambda s: number(1000 * s, 1 if s < 0.01 else 0))


def hourly(per_second: float | None) -> float | None:
    return None if per_second is None else 3600 * per_second


def si(value: float | None) -> str:
    return _known(value, short_number)


def usd(value: float | None) -> str:
    return _known(value, lambda v: f"{v:,.2f} USD" if v == 0 or v >= 0.1 else f"{v:.2g} USD")


def interval(value: Row | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{percent(value['mean'])} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def points(value: Row) -> str:
    mean, low, high = (f"{100 * value[key]:+.1f}" for key in ("mean", "low", "high"))
    return f"{mean} points [{low}, {high}]"


def p_value(value: float | None) -> str:
    return _known(value, lambda p: "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}")


def ratio(arm: Row, teacher: Row | None, key: str) -> str:
    """The arm's measure as a multiple of the teacher's, on a line of its own."""
    own, other = arm.get(key), (teacher or {}).get(key)
    return "" if arm is teacher or not own or not other else f"\n{own / other:.2f}x"


def short(model: str) -> str:
    """A folder by its last name, a hub id as it is."""
    return Path(model).name if Path(model).is_absolute() else model


def clip(text: object) -> str:
    whole = str(text)
    cut = len(whole) - LONGEST
    return whole if cut <= 0 else f"{whole[:LONGEST]} ... ({cut:,} more characters)"


def fenced(text: str) -> Markup:
    """A Markdown code block whose fence is longer than any inside."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return Markup(f"{fence}yaml\n{text.strip()}\n{fence}")


def without_controls(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return _CONTROL.sub("\ufffd", str(value).replace("\r\n", "\n"))


def escape_markdown(value: object) -> Markup:
    """Text for a table cell or a sentence: no HTML, no markup, one line."""
    clean = without_controls(value)
    if isinstance(clean, Markup):
        return clean
    plain = html.escape(str(clean), quote=False)
    marked = _MARKDOWN.sub(lambda found: "\\" + found.group(), plain)
    return Markup(marked.replace("\n", "<br>"))
