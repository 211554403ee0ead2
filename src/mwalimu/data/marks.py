"""Texts of unknown origin, shown to a model between marks that no writer of one could foresee."""

from __future__ import annotations

from hashlib import sha256


def code_of(*texts: str) -> str:
    """12 hex digits that depend on every text, so no text can contain them but by chance."""
    return sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def marked(name: str, code: str, text: str) -> str:
    """`text` between an opening and a closing mark."""
    return f"<<<{name} {code}>>>\n{text}\n<<<end of {name} {code}>>>"
