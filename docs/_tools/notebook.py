"""The page of the notebook: its cells as Markdown, and the file itself beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "walkthrough.ipynb"

FOOT = """
[Download the notebook](walkthrough.ipynb). It is `notebooks/walkthrough.ipynb` of the repository;
`tests/docs/test_notebook.py` runs its cells with fewer rows.
"""


def cells(kind: str | None = None) -> Iterator[tuple[str, str]]:
    """(kind, source) of every cell, or of those of one kind: `code` or `markdown`."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if kind in (None, cell["cell_type"]):
            yield cell["cell_type"], "".join(cell["source"])


def page() -> str:
    shown = (f"```python\n{text}\n```" if kind == "code" else text for kind, text in cells())
    return "\n\n".join(shown) + "\n" + FOOT
