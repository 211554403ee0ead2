"""What is known of a model unloaded: from its folder, the hub's cache, or the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mwalimu.estimate.tokens import find_tokenizer
from mwalimu.finetune.footprint import Shape, shape_of
from mwalimu.registry import find_student


def folder_of(model: str) -> Path | None:
    """Where the model lies, be it in the local cache of the hub."""
    for folder in (Path(model), find_tokenizer(model)):
        if folder is not None and (folder / "config.json").is_file():
            return folder
    return None


def config_of(model: str) -> dict[str, Any]:
    """Its config.json; empty where there is none, or one that cannot be read."""
    folder = folder_of(model)
    if folder is None:
        return {}
    try:
        found = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def known_shape(model: str) -> Shape | None:
    if config := config_of(model):
        return shape_of(config)
    known = find_student(model)
    return None if known is None else known.shape


def context_of(model: str) -> int | None:
    """In tokens."""
    config = config_of(model)
    found = config.get("text_config", config).get("max_position_embeddings")
    if isinstance(found, int):
        return found
    known = find_student(model)
    return None if known is None else known.context
