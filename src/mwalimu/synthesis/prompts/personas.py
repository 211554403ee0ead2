"""What different people would ask (after Ge et al. 2024): one request a person, with a topic."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import orjson

from mwalimu.data.record import Json
from mwalimu.errors import DataError, explained
from mwalimu.synthesis.prompts.base import (
    Ask,
    Method,
    Source,
    asks_for,
    instructed,
)
from mwalimu.synthesis.prompts.templates import fill


class Personas(Method):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._people = people(source)
        self._instruction = fill(source.templates["personas"], count=source.settings.per_request)

    def round(self, number: int, wanted: int) -> Iterator[Ask]:
        some = islice(self._people, asks_for(wanted, self.source))
        for index, (facts, said, again) in enumerate(some):
            yield Ask(
                f"r{number}-{index:05d}",
                instructed(self._instruction, said),
                {"method": "personas", "round": number, **facts},
                self.source.settings.system or "",
                sample=again,
            )


def people(source: Source) -> Iterator[tuple[Json, str, int]]:
    """(facts, how the person is described, which draw), again and again without end.

    Each time a person comes up it is with the next topic; when it has had all of them, the same is
    asked for another draw.
    """
    path, topics = source.settings.personas, source.settings.topics
    for again in count():
        for index, persona in enumerate(read_personas(path) if path else topics):
            facts: Json = {"persona": persona} if path else {"topic": persona}
            said = f"{persona}" if path else f"Topic: {persona}"
            if path and topics:
                facts["topic"] = topic = topics[(index + again) % len(topics)]
                said += f"\nTopic: {topic}"
            yield facts, said, again // len(topics) if path and topics else again


def read_personas(path: Path) -> Iterator[str]:
    """One a line, plain or as the `persona` of a JSON object.

    Raises:
        DataError: the file cannot be read, has none, or a line of JSON without one.
    """
    found = False
    try:
        with path.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    found = True
                    yield _persona(line.strip(), f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise explained(error, str(path)) or DataError(
            f"cannot be read ({error})", where=str(path)
        ) from None
    if not found:
        raise DataError("has no personas", where=str(path), fix="write one on each line")


def _persona(line: str, where: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        persona = orjson.loads(line).get("persona")
    except orjson.JSONDecodeError:
        persona = None
    if not isinstance(persona, str) or not persona.strip():
        raise DataError("persona: is missing", where=where, fix='write {"persona": ...}')
    return persona.strip()
