"""Prompts made harder, or rarer, step by step (Evol-Instruct, Xu et al. 2023).

Every seed has a line of descent; a round rewrites its newest prompt in one of five ways, each as
likely. A rewriting that is not accepted leaves the line where it was. Memory: 8 bytes a seed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from mwalimu.synthesis.prompts.base import (
    Ask,
    Candidate,
    Method,
    Source,
    as_prompts,
    chooser,
    instructed,
)
from mwalimu.synthesis.prompts.reading import read_prompt
from mwalimu.synthesis.verdict import Outcome

WAYS = ("constraints", "deepen", "concretise", "reasoning", "breadth")


class Evolve(Method):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._newest = array("q", range(source.seeds))

    def round(self, number: int, wanted: int) -> Iterator[Ask]:
        for line in range(min(wanted, len(self._newest))):
            yield self._ask(number, line)

    def read(self, ask: Ask, outcome: Outcome) -> Iterable[Candidate]:
        return as_prompts(ask, [read_prompt(outcome.text)])

    def accepted(self, ask: Ask, number: int) -> None:
        self._newest[int(ask.facts["line"])] = number

    def _ask(self, number: int, line: int) -> Ask:
        way = chooser(self.source, "evolve", number, line).choice(WAYS)
        parent = self.source.pool.get(self._newest[line])
        facts = {
            "method": "evolve",
            "round": number,
            "way": way,
            "line": line,
            "parents": [parent.id],
        }
        instruction = self.source.templates[f"evolve_{way}"]
        rewrites = None if way == "breadth" else parent.number
        return Ask(
            f"r{number}-{line:05d}",
            instructed(instruction, parent.text),
            facts,
            parent.system,
            sample=number,
            parent=rewrites,
        )
