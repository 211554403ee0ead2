"""The families as GroupQueryAttention takes them: heads of which a multiple of 16 numbers turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.families.families import FAMILIES, longrope, make

_CHANGES: dict[str, dict[str, Any]] = {
    "phi-3.5-mini": longrope(pairs=8),
    "phi-4-mini": longrope(share=0.75, pairs=24)
    | {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1},
    "gemma-2": {"head_dim": 16},
    "gemma-3": {"head_dim": 16},
}
NAMES = sorted(FAMILIES)


def make_for_onnx(folder: Path, name: str, **changes: Any) -> Path:
    return make(folder, name, **{"hidden_size": 64} | _CHANGES.get(name, {}) | changes)
