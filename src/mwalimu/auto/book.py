"""What was decided, in the order in which it was: `auto/decisions.json` of the run folder.

A decision is made once: a job that was killed reads it and goes on behind it. Under another config
or budget those after the buying are made again; what was bought stays bought.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mwalimu.files import write_json

BOUGHT, SHARED, CHOSEN = "bought", "shared out", "chosen"
ORDER = (BOUGHT, SHARED, CHOSEN)


@dataclass(frozen=True, slots=True)
class Decision:
    """`said` is the decision and its reason in one line; `facts` what a later life needs of it."""

    step: str
    said: str
    facts: dict[str, Any] = field(default_factory=dict)


class Book:
    """`basis` is a hash of what the decisions after the buying depend on."""

    def __init__(self, path: Path, basis: str) -> None:
        self.path = path
        self.basis = basis
        self.decisions = self._read()

    def once(self, step: str, make: Callable[[], Decision]) -> Decision:
        """The decision of `step`, made now if it is not in the book."""
        for known in self.decisions:
            if known.step == step:
                return known
        made = make()
        self.decisions.append(made)
        decisions = [asdict(one) for one in self.decisions]
        write_json(self.path, {"basis": self.basis, "decisions": decisions})
        return made

    def _read(self) -> list[Decision]:
        if not self.path.is_file():
            return []
        raw = json.loads(self.path.read_bytes())
        found = [Decision(**one) for one in raw["decisions"]]
        return found if raw["basis"] == self.basis else [d for d in found if d.step == BOUGHT]
