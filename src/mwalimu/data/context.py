"""How much a model reads at once."""

from __future__ import annotations

from typing import Any

UNLIMITED = 1 << 30
"""The context of a model whose config names none."""


def context_of(config: Any) -> int:
    """Ids of prompt and answer together, of a transformers config or of its part for text."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or UNLIMITED
