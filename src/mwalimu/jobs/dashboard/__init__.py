"""The dashboard: plain files that the service hands out as they are, and what a browser may do with
them. They speak the HTTP interface of docs/service.md and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

INDEX = "index.html"

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

HEADERS = {
    # Trusted Types, of which none is made: a sink that reads markup or script from text throws.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, and mostly answered by 304
}
"""Go with every file."""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    media_type: str
    etag: str


def packaged() -> dict[str, File]:
    """Every file by its name below `static`, such as `pages/jobs.js`; no other name is served."""
    root = files("mwalimu.jobs.dashboard") / "static"
    return dict(sorted(_below(root, "")))


def _below(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            found += _below(entry, f"{name}/")
        elif (suffix := name.rpartition(".")[2]) in TYPES:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found.append((name, File(content, TYPES[suffix], etag)))
    return found
