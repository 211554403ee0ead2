"""What a teacher wrote when it was asked for prompts, as prompts. Pure; its text is hostile input.

Tried in order: JSON (a list, an object with a list, one object a line; fenced or with words
around it), a numbered list, a list with bullets, questions on lines of their own, and prose.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?\s*```", re.DOTALL)
_NUMBER = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*)?[*_]{0,2}"
    r"(?:(?:prompt|question|task|instruction|message|q)[ \t]*#?[ \t]*)?"
    r"(\d{1,3})[*_]{0,2}[.):\]][*_]{0,2}[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_BULLET = re.compile(r"^[ \t]*[-*+\u2022\u2013][ \t]+", re.MULTILINE)
_LABEL = re.compile(
    r"^\W{0,4}(?:(?:the |my |your )?(?:new|rewritten|created|revised|harder)?[ \t]*"
    r"(?:prompt|question|instruction|message))[ \t]*(?:[#*_]*[ \t]*:|#+[ \t]*\n)[\s*_]*",
    re.IGNORECASE,
)
_INTRODUCTION = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|here)\b[^\n]*:\s*\n+", re.IGNORECASE
)
_KEYS = ("prompt", "question", "instruction", "message", "text", "content")
_QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»", "`": "`"}


def read_prompts(text: str) -> tuple[str, ...]:
    """The prompts of a list, in order, without numbers, bullets, labels and quotes."""
    found = _from_json(text) or _numbered(text) or _bulleted(text) or _prose(text)
    cleaned = (_cleaned(item) for item in found)
    return tuple(item for item in cleaned if item)


def read_prompt(text: str) -> str:
    """The one prompt of a text that should be nothing else; "" where there is none."""
    found = _from_json(text)
    if len(found) == 1:
        return _cleaned(found[0])
    fenced = _FENCE.fullmatch(text.strip())
    plain = fenced[1] if fenced else text.strip()
    return _cleaned(_INTRODUCTION.sub("", plain, count=1))


def _from_json(text: str) -> list[str]:
    fenced = _FENCE.search(text)
    for candidate in ([fenced[1]] if fenced else []) + [text, _between(text, "[", "]")]:
        value = _parsed(candidate)
        if value is not None and (found := _texts(value)):
            return found
    lines = [line for line in text.splitlines() if line.strip()]
    values = [_parsed(line.strip().rstrip(",")) for line in lines]
    if lines and all(isinstance(value, dict) for value in values):
        return [item for value in values for item in _texts(value)]
    return []


def _between(text: str, opening: str, closing: str) -> str:
    start, end = text.find(opening), text.rfind(closing)
    return text[start : end + 1] if 0 <= start < end else ""


def _parsed(text: str) -> Any:
    """A list or an object; None for anything else, a number that stands alone too."""
    try:
        value = orjson.loads(text.strip())
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, list | dict) else None


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _text_of(item)]
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    if len(lists) == 1:
        return _texts(lists[0])
    return _text_of(value) or [text for item in value.values() for text in _text_of(item)]


def _text_of(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    if isinstance(item, dict):
        return next(([item[k]] for k in _KEYS if isinstance(item.get(k), str)), [])
    return []


def _numbered(text: str) -> list[str]:
    """From 1 upwards: a number that is not the next one belongs to a prompt."""
    starts: list[tuple[int, int]] = []
    for match in _NUMBER.finditer(text):
        if int(match[1]) == len(starts) + 1:
            starts.append((match.start(), match.end()))
    return _split(text, starts) if len(starts) > 1 or (starts and starts[0][0] == 0) else []


def _bulleted(text: str) -> list[str]:
    starts = [(match.start(), match.end()) for match in _BULLET.finditer(text)]
    return _split(text, starts) if len(starts) > 1 else []


def _split(text: str, starts: list[tuple[int, int]]) -> list[str]:
    """The texts behind the marks; a paragraph behind the last item is the writer's farewell, unless
    other items have paragraphs too.
    """
    ends = [start for start, _ in starts[1:]] + [len(text)]
    items = [text[begin:end].strip() for (_, begin), end in zip(starts, ends, strict=True)]
    if not any("\n\n" in item for item in items[:-1]):
        items[-1] = items[-1].split("\n\n")[0]
    return items


def _prose(text: str) -> list[str]:
    body = _INTRODUCTION.sub("", text.strip(), count=1)
    blocks = [block.strip() for block in re.split(r"\n\s*\n", body) if block.strip()]
    if len(blocks) == 1:
        lines = [line.strip() for line in blocks[0].splitlines()]
        return lines if len(lines) > 1 and all(line.endswith("?") for line in lines) else blocks
    return blocks


def _cleaned(item: str) -> str:
    text = _LABEL.sub("", item.strip(), count=1).strip()
    if text.startswith("**") and text.endswith("**") and text.count("**") == 2:
        text = text[2:-2].strip()
    quoted = len(text) > 1 and _QUOTES.get(text[0]) == text[-1]
    return text[1:-1].strip() if quoted and text[0] not in text[1:-1] else text
