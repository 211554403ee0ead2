"""The pages as files: which there are, their fenced blocks, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = ROOT / "mkdocs.yml"

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


def named_in_nav() -> list[str]:
    """Every page of the nav of mkdocs.yml, as a path in docs/."""
    return list(_leaves(yaml.safe_load(SITE.read_text(encoding="utf-8"))["nav"]))


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _leaves(one)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language ("" is none), without their indentation."""
    text = page.read_text(encoding="utf-8")
    return [
        re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE)
        for found in _BLOCK.finditer(text)
        if found[2] == language
    ]


def links(page: Path) -> list[str]:
    """Links to files; what stands in a fenced block is none."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [one for one in _LINK.findall(text) if not re.match(r"[a-z]+:", one)]
