"""The faulty teacher in a process of its own, so that the client's memory can be measured alone.

Prints its address, and at the end of its input what it did as one line of JSON. Which of a
prompt's calls goes wrong, and how, is a pure function of the prompt.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter

from tests.synthesis import faults_answer, faults_body, faults_http, faults_wire
from tests.synthesis.faults import TABLE, Fault
from tests.synthesis.faulty_server import FaultyServer

assert faults_answer and faults_body and faults_http and faults_wire  # they fill the table
SEED, SHARE = 20, 0.05
HEAVY = {"packed_bomb", "a_hundred_megabytes", "text_of_five_megabytes", "flood_of_headers"}
HEAVY |= {"a_megabyte_of_spaces_around"}
KINDS = [
    kind
    for kind in TABLE.values()
    if not (kind.slow or kind.effect.stops or kind.effect.busy or not kind.effect.exact)
    and kind.name not in HEAVY
]


def fault_of(prompt: str, count: int) -> Fault | None:
    """What happens to the `count`-th call for `prompt`."""
    chance = random.Random(f"{SEED} {prompt} {count}")
    return chance.choice(KINDS) if chance.random() < SHARE else None


def outcome_of(prompt: str) -> tuple[str, int]:
    """How the row has to end, and after how many calls, if its fate is the only one."""
    calls, longer = 0, False
    while True:
        calls += 1
        fault = fault_of(prompt, calls)
        if fault is None or fault.effect.status:
            return (fault.effect.status if fault else "ok"), calls
        if fault.effect.longer and longer:
            return "truncated", calls
        longer |= fault.effect.longer
        if not (fault.effect.retried or fault.effect.longer):
            return "ok", calls


def main() -> None:
    counts: Counter[str] = Counter()

    def plan(_: int, prompt: str) -> Fault | None:
        counts[prompt] += 1
        return fault_of(prompt, counts[prompt])

    with FaultyServer(plan) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        books = {
            "asked": server.asked.total(),
            "billed": server.billed.total(),
            "prompts": len(server.asked),
            "hit": len(server.hit),
        }
    print(json.dumps(books), flush=True)


if __name__ == "__main__":
    main()
