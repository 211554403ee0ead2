"""New prompts in the manner of given ones, and then of its own (Self-Instruct, Wang et al. 2023).

As there, a request shows examples of which one in four is the teacher's own, once it has any. A
round asks for no more than the pool can show anew, so that it grows out of itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from mwalimu.synthesis.prompts.base import (
    MOST_ASKED,
    Ask,
    Method,
    Source,
    asks_for,
    chooser,
    instructed,
)
from mwalimu.synthesis.prompts.pool import Prompt
from mwalimu.synthesis.prompts.templates import fill

FIRST_ROUND = 4  # requests, at least: where there are topics only
OWN_SHARE = 4  # one example in so many is the teacher's own


class SelfInstruct(Method):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        count = source.settings.per_request
        self._instruction = fill(source.templates["self_instruct"], count=count)

    def round(self, number: int, wanted: int) -> Iterator[Ask]:
        size = self.source.pool.size
        for index in range(asks_for(wanted, self.source, max(FIRST_ROUND, size))):
            yield self._ask(number, index, size)

    def _ask(self, number: int, index: int, size: int) -> Ask:
        chance = chooser(self.source, "self_instruct", number, index)
        examples = self._examples(chance, size)
        topics = self.source.settings.topics
        facts = {"method": "self_instruct", "round": number, "parents": [e.id for e in examples]}
        lines = [f"{place}. {example.text}" for place, example in enumerate(examples, 1)]
        if topics:
            facts["topic"] = topic = topics[chance.randrange(len(topics))]
            lines.append(f"Topic: {topic}")
        system = examples[0].system if examples else self.source.settings.system or ""
        messages = instructed(self._instruction, "\n".join(lines))
        return Ask(f"r{number}-{index:05d}", messages, facts, system, number * MOST_ASKED + index)

    def _examples(self, chance: random.Random, size: int) -> list[Prompt]:
        """Of one system turn: those of another are prompts of another kind."""
        seeds, count = self.source.seeds, self.source.settings.examples
        own = min(count // OWN_SHARE, size - seeds) if seeds else min(count, size)
        numbers = chance.sample(range(seeds), min(count - own, seeds))
        numbers += chance.sample(range(seeds, size), own)
        found = [self.source.pool.get(one) for one in numbers]
        return [one for one in found if one.system == found[0].system]
