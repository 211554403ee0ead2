"""Models with two sets of rotary frequencies: one up to a length, another beyond it (longrope).

Phi-3 128K, Phi-3.5 and Phi-4-mini are such. transformers takes the set for a whole batch, by its
widest row, padding included: beside a long row, a short one is seen by frequencies that it never
has alone, and with other logits. So rows of both sides of the limit do not share a batch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def rope_limit(model: Any) -> int | None:
    """The tokens up to which the first set holds; None where there is one set."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    # Some models have a mapping of these for every kind of layer.
    kinds = [one for one in rope.values() if isinstance(one, dict)] or [rope]
    limits = [
        one["original_max_position_embeddings"]
        for one in kinds
        if one.get("rope_type") == "longrope"
    ]
    return min(limits, default=None)


def sides(lengths: Sequence[int], limit: int | None) -> list[Sequence[int]]:
    """Which rows may share a batch, by their numbers: those up to `limit` tokens, and the rest."""
    everyone = range(len(lengths))
    if limit is None:
        return [everyone]
    short = [i for i in everyone if lengths[i] <= limit]
    long = [i for i in everyone if lengths[i] > limit]
    return [side for side in (short, long) if side]


def answered_alike(
    lengths: Sequence[int], max_tokens: int, limit: int | None
) -> list[Sequence[int]]:
    """Which prompts may be answered in one batch, by their numbers.

    Those that stay below the limit with their answers may, and those beyond it from the start. An
    answer that may cross it is written alone: the whole batch would change its set with it.
    """
    if limit is None:
        return [range(len(lengths))]
    groups: list[Sequence[int]] = []
    for side in sides(lengths, limit):
        crossing = [i for i in side if lengths[i] <= limit < lengths[i] + max_tokens]
        groups += [[i for i in side if i not in set(crossing)], *([i] for i in crossing)]
    return [group for group in groups if group]
