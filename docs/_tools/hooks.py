"""What mkdocs calls while it builds the site: the derived pages, and pages as it wants them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs._tools.markdown import linked, spaced
from docs._tools.notebook import NOTEBOOK
from docs._tools.pages import PAGES


def on_files(files: Any, *, config: Any) -> Any:
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    files.append(File.generated(config, NOTEBOOK.name, abs_src_path=str(NOTEBOOK)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    return spaced(linked(markdown, page.file.src_uri, {one.src_uri for one in files}))
