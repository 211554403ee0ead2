"""Rows out of one JSON document, as public sets are often published: a list of rows, or SQuAD.

A document is read whole, so its memory grows with it; JSONL is what is streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import orjson

MARK = b"\xef\xbb\xbf"


def is_document(handle: IO[bytes]) -> bool:
    """Whether a `.json` file is one document, not a row on each line. Goes back to its start.

    It is one if its first line with anything on it is no object, or an object that holds `data`.
    """
    first = next((line for line in handle if line.removeprefix(MARK).strip()), b"")
    handle.seek(0)
    try:
        found = orjson.loads(first.removeprefix(MARK))
    except orjson.JSONDecodeError:
        return first.removeprefix(MARK).lstrip()[:1] in (b"[", b"{")
    return isinstance(found, list) or (isinstance(found, dict) and "data" in found)


def read_document(handle: IO[bytes]) -> Iterator[Any]:
    """Its rows. Raises ValueError: it is no JSON, or neither a list nor an object with `data`."""
    found = orjson.loads(handle.read().removeprefix(MARK))
    rows = found.get("data") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise ValueError("neither a list of rows nor an object with a list 'data'")
    for row in rows:
        yield from _questions(row) if _is_article(row) else [row]


def _is_article(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("paragraphs"), list)


def _questions(article: dict[str, Any]) -> Iterator[Any]:
    """A row for each question of an article of SQuAD (1.1 and 2.0)."""
    for paragraph in article["paragraphs"]:
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
            yield paragraph  # whoever reads the row says what it lacks
            continue
        shared = {"title": article.get("title"), "context": paragraph.get("context")}
        for asked in paragraph["qas"]:
            yield shared | asked if isinstance(asked, dict) else asked
