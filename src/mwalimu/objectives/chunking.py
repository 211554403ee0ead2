"""How many tokens a head and its loss take at a time. Imports no torch.

Shapes: C tokens of a chunk, V vocabulary.
"""

from __future__ import annotations

CHUNK_BYTES = {"cpu": 128 << 20, "cuda": 512 << 20}
"""Of the numbers of a chunk in float32."""
MIN_CHUNK = 16
BLOCK_BYTES, MIN_BLOCK = 4 << 20, 8
"""On a CPU a chunk's loss takes so few tokens at once that what is made on the way stays in its
cache."""


def chunk_tokens(width: int, device: str) -> int:
    """C, for V = `width`."""
    return max(MIN_CHUNK, CHUNK_BYTES.get(device, CHUNK_BYTES["cpu"]) // (4 * width))


def block_tokens(width: int, number_bytes: int) -> int:
    """Tokens of a block of a chunk."""
    return max(MIN_BLOCK, BLOCK_BYTES // (number_bytes * width))
