"""The world's rows in chat form: the five tasks in turn, no prompt twice."""

from __future__ import annotations

import random
from typing import Any

from mwalimu.quickstart.tasks import MAKERS
from mwalimu.quickstart.world import WORLD_VERSION, Split, side_of


def generate_rows(split: Split, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` rows in chat form, each with its gold answer last, the five tasks in turn.

    No prompt occurs twice within a split.
    """
    rng = random.Random(f"support-desk {WORLD_VERSION} {split} {seed}")
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    tasks = list(MAKERS)
    while len(rows) < count:
        task = tasks[len(rows) % len(tasks)]
        turns = MAKERS[task](rng, side_of(split))
        prompt = "\n".join(turns[:-1])
        if prompt in seen:
            continue
        seen.add(prompt)
        rows.append({"id": f"{split}-{len(rows):05d}", "task": task, "messages": _chat(turns)})
    return rows


def _chat(turns: list[str]) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
