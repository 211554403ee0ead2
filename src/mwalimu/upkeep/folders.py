"""Run folders as they are named on the command line."""

from __future__ import annotations

from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.run import Run


def existing(root: Path) -> Run:
    """Raises RunError: there is no manifest, or it cannot be read."""
    if not (root / "run.json").is_file():
        raise RunError("is no run folder", where=str(root), fix="check the path")
    return Run(root)
