"""Pages written for a repository, as the site's Markdown wants them; code blocks stay."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Container

_FENCED = re.compile(r"^(?P<indent> *)```.*?^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"(?<!\]\()(?<![\w/\[.])(`?)docs/((?:[a-z]+/)*[\w-]+\.(?:md|svg|json))\1")
_MARK = "\x00"
_LIST = re.compile(r"(?:- |1\. )")


def linked(text: str, page: str, there: Container[str]) -> str:
    """`docs/teachers.md`, as the repository names a page, becomes a link from `page` to it.

    `there` are the files of the site; another name stays as it is.
    """
    here = posixpath.dirname(page) or "."

    def link(found: re.Match[str]) -> str:
        tick, target = found[1], found[2]
        if target not in there:
            return found[0]
        return f"[{tick}{target}{tick}]({posixpath.relpath(target, here)})"

    return _outside_code(text, lambda part: _NAMED.sub(link, part))


def spaced(text: str) -> str:
    """A list or a table right under a paragraph, as GitHub takes it, gets a blank line before."""
    return _outside_code(text, _spaced)


def _spaced(part: str) -> str:
    lines: list[str] = []
    listed = False  # whether the lines since the last blank one hold an item already
    for line in part.split("\n"):
        before = lines[-1] if lines else ""
        free = not before.strip() or before.startswith("#")
        listed = listed and not free
        item = bool(_LIST.match(line))
        table = line.startswith("|") and not before.startswith("|")
        lines += ["", line] if not free and (table or (item and not listed)) else [line]
        listed |= item
    return "\n".join(lines)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """With a mark in place of each code block while it is changed."""
    blocks = [found[0] for found in _FENCED.finditer(text)]
    changed = change(_FENCED.sub(_MARK, text))
    return re.sub(_MARK, lambda _: blocks.pop(0), changed)
