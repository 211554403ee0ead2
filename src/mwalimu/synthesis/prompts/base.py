"""What a method of making prompts is: it asks in rounds and reads what was said.

A round depends on what was accepted before it began, never on what happens meanwhile: equal answers
make equal prompts, whatever the timing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from mwalimu.config import PromptsConfig
from mwalimu.data.record import Json, Message, value_class
from mwalimu.synthesis.answer import Row
from mwalimu.synthesis.prompts.pool import Pool
from mwalimu.synthesis.prompts.reading import read_prompts
from mwalimu.synthesis.prompts.templates import Templates
from mwalimu.synthesis.verdict import Outcome

if TYPE_CHECKING:
    from mwalimu.synthesis.job import Job

MOST_ASKED = 256  # requests in a round


@value_class
class Ask:
    """A request for prompts; `facts` go into each prompt that comes of it.

    `text` is what the method knows already: a passage, an opening. With `known` it is all there is
    to know, and nobody is asked. `system` is the system turn of the prompts; `parent` the
    pool's number of the prompt that this rewrites.
    """

    id: str
    messages: tuple[Message, ...]
    facts: Json
    system: str = ""
    sample: int = 0
    parent: int | None = None
    text: str = ""
    known: bool = False


class Candidate(NamedTuple):
    """A prompt that may be accepted: `text` is compared with others, `written` are the texts that
    the teacher wrote, which have to be fit; `messages` becomes the row.
    """

    text: str
    messages: tuple[Message, ...]
    written: tuple[str, ...]


@value_class
class Source:
    """What every method works from: seeds are the first `seeds` prompts of the pool."""

    settings: PromptsConfig
    pool: Pool
    seeds: int
    templates: Templates
    seed: int


class Method:
    """Says what is asked, and reads the answers."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def round(self, number: int, wanted: int) -> Iterator[Ask]:
        """What is asked in round `number` to get `wanted` prompts; nothing ends the work."""
        raise NotImplementedError

    async def answer(self, row: Row, ask: Ask, job: Job) -> Outcome:
        """One request to the teacher, unless a method needs more."""
        outcome: Outcome = await job.answerer(row)
        return outcome

    def read(self, ask: Ask, outcome: Outcome) -> Iterable[Candidate]:
        """The prompts in an accepted answer: a list of them, unless a method says otherwise."""
        return as_prompts(ask, read_prompts(outcome.text))

    def accepted(self, ask: Ask, number: int) -> None:
        """A prompt of this ask is in the pool under that number. Most methods need not know."""


def chooser(source: Source, *place: object) -> random.Random:
    """A generator for one choice, the same in every life."""
    return random.Random("/".join(map(str, (source.seed, *place))))


def asks_for(wanted: int, source: Source, most: int = MOST_ASKED) -> int:
    """How many requests should bring `wanted` prompts."""
    return min(-(-wanted // source.settings.per_request), max(1, most))


def instructed(instruction: str, said: str) -> tuple[Message, ...]:
    return (Message("system", instruction), Message("user", said))


def single_turn(system: str, content: str) -> tuple[Message, ...]:
    user = Message("user", content)
    return (Message("system", system), user) if system else (user,)


def as_prompts(ask: Ask, texts: Iterable[str]) -> Iterator[Candidate]:
    for text in texts:
        yield Candidate(text, single_turn(ask.system, text), (text,))
