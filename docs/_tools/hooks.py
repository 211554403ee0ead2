"""What mkdocs calls while it builds the site: the derived pages, and links for names of pages."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs._tools.notebook import NOTEBOOK
from docs._tools.pages import PAGES

FENCED = re.compile(r"^```.*?^```[ ]*$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?<![\w/(\[.])(`?)docs/((?:[a-z]+/)*[\w-]+\.(?:md|svg|json))\1")
"""A page as the repository calls it, in backticks or bare."""


def on_files(files: Any, *, config: Any) -> Any:
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    files.append(File.generated(config, NOTEBOOK.name, abs_src_path=str(NOTEBOOK)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """`docs/teachers.md` becomes a link, wherever the page stands; in code blocks it stays text."""
    here = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        target = found[2]
        if files.get_file_from_path(target) is None:
            return found[0]
        return f"[{found[1]}{target}{found[1]}]({posixpath.relpath(target, here or '.')})"

    kept, at = [], 0
    for block in FENCED.finditer(markdown):
        kept += [NAMED.sub(link, markdown[at : block.start()]), block[0]]
        at = block.end()
    return "".join(kept) + NAMED.sub(link, markdown[at:])
