"""Conversations with a simulated user: a prompt is one that waits for the assistant's last word.

The opening is a seed's, or is asked for by a person or a topic; then the teacher and the player of
the user go on in turn (`synthesis/conversation.py`). The teacher's last turn is bought here already
and found in the store when stage 1 asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING

from mwalimu.synthesis.answer import Row
from mwalimu.synthesis.conversation import simulate
from mwalimu.synthesis.prompts.base import (
    MOST_ASKED,
    Ask,
    Candidate,
    Method,
    Source,
    instructed,
    single_turn,
)
from mwalimu.synthesis.prompts.personas import people
from mwalimu.synthesis.prompts.reading import read_prompt
from mwalimu.synthesis.verdict import Outcome

if TYPE_CHECKING:
    from mwalimu.synthesis.job import Job


class Conversations(Method):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._openings = self._from_seeds() if source.seeds else self._from_people()

    def round(self, number: int, wanted: int) -> Iterator[Ask]:
        for index, ask in enumerate(islice(self._openings, min(wanted, MOST_ASKED))):
            facts = {"method": "conversations", "round": number, **ask.facts}
            yield replace(ask, id=f"r{number}-{index:05d}", facts=facts)

    async def answer(self, row: Row, ask: Ask, job: Job) -> Outcome:
        """The whole conversation; a turn that is not usable ends it with that turn's outcome."""
        opening = ask.text
        if not opening:
            first = await super().answer(row, ask, job)
            if first.status != "ok":
                return first
            opening = read_prompt(first.text)
            if not opening:
                return replace(first, status="invalid", reason="the opening is empty")
        held = replace(row, record=replace(row.record, messages=single_turn(ask.system, opening)))
        user = job.user or job.members[0]
        turns = job.config.generate.turns
        return await simulate(held, answerer=job.answerer, user=user, turns=turns)

    def read(self, ask: Ask, outcome: Outcome) -> Iterable[Candidate]:
        messages = outcome.messages or ()
        said = tuple(message.content for message in messages if message.role == "user")
        yield Candidate("\n".join(said), messages, said)

    def _from_seeds(self) -> Iterator[Ask]:
        for again in count():
            for number in range(self.source.seeds):
                seed = self.source.pool.get(number)
                facts = {"parents": [seed.id]}
                yield Ask("", (), facts, seed.system, again, parent=number, text=seed.text)

    def _from_people(self) -> Iterator[Ask]:
        instruction = self.source.templates["conversations"]
        system = self.source.settings.system or ""
        for facts, said, again in people(self.source):
            yield Ask("", instructed(instruction, said), facts, system, again)
