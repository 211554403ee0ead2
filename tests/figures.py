"""What a test tried, kept for the page of figures that `make trust` writes."""

from __future__ import annotations

import json
import os
from pathlib import Path


def record(
    figure: str, what: str, *, tried: int, failed: int = 0, seed: int | None = None, note: str = ""
) -> None:
    """A line in the file that MWALIMU_FIGURES names, if it names one. Called where a test has seen
    all it wanted to see: one that fails leaves no line, and the page says so. `note` holds the
    worst case or what else was measured."""
    if not (path := os.environ.get("MWALIMU_FIGURES")):
        return
    line = {"figure": figure, "what": what, "tried": tried, "failed": failed}
    with open(Path(path), "a", encoding="utf-8") as lines:
        lines.write(json.dumps(line | {"seed": seed, "note": note}) + "\n")
