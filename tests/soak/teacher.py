"""A faulty teacher in a process of its own that outlives all who ask it, and keeps books.

A twentieth of the prompts goes wrong in the same way whenever it is asked, another at its first
call only: so the fate of a row does not depend on who was killed when. Prints its address, and at
the end of its input how often each prompt was asked, as one line of JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter

from tests.synthesis.faults import Fault
from tests.synthesis.faulty_server import FaultyServer
from tests.synthesis.soak_server import KINDS

SHARE = 0.05
LASTING = [kind for kind in KINDS if kind.effect.status and not kind.effect.longer]
PASSING = [
    kind
    for kind in KINDS
    if kind.effect.retried and not kind.effect.status and not kind.effect.longer
]


def fault_of(prompt: str, count: int) -> Fault | None:
    chance = random.Random(f"soak {prompt}")
    lot = chance.random()
    if lot < SHARE:
        return chance.choice(LASTING)
    return chance.choice(PASSING) if lot < 2 * SHARE and count == 1 else None


def fate_of(prompt: str) -> tuple[str, int]:
    """How its row has to end, and after how many calls where nobody is killed."""
    first = fault_of(prompt, 1)
    if first is None:
        return "ok", 1
    return (first.effect.status, 1) if first.effect.status else ("ok", 2)


def main() -> None:
    counts: Counter[str] = Counter()

    def plan(_: int, prompt: str) -> Fault | None:
        counts[prompt] += 1
        return fault_of(prompt, counts[prompt])

    with FaultyServer(plan) as server:
        print(server.url, flush=True)
        sys.stdin.read()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
