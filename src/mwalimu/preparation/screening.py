"""What is looked at in every job before anything is paid for: contamination, personal data."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

import orjson

from mwalimu.config import Config
from mwalimu.data.dataset import Dataset
from mwalimu.data.privacy import find
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.preparation.contamination import LIMITS, HeldOut, Hit, Match, hit, in_words, own_rows

SHOWN = 20  # rows of an error
TOLD = 5  # lines of a warning

Note = Callable[[str], None]
Kind = Literal["equal", "overlap"]
KINDS: tuple[Kind, ...] = ("equal", "overlap")


class Sources(NamedTuple):
    """The user's files; each is gone through as often as needed and never held whole."""

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None

    @property
    def prompts(self) -> dict[str, Dataset]:
        """What the teacher will be asked, by split."""
        held = {"train": self.train, "validation": self.validation}
        return {split: data for split, data in held.items() if data is not None}


class Found(NamedTuple):
    """A row that is matched: its place among the rows, from 0; its number; its match."""

    at: int
    number: int
    match: Match


class Matched:
    """The rows of a split that are matched, in order, as columns: 26 bytes each."""

    def __init__(self, held_out: Sequence[HeldOut] = ()) -> None:
        self._held_out = held_out
        self._at, self._numbers, self._rows = array("q"), array("q"), array("q")
        self._kinds, self._which = array("B"), array("B")

    def add(self, at: int, number: int, found: Hit) -> None:
        self._at.append(at)
        self._numbers.append(number)
        self._rows.append(found.number)
        self._kinds.append(KINDS.index(found.kind))
        self._which.append(found.which)

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[Found]:
        for at, number, one in self.hits():
            yield Found(at, number, in_words(one, self._held_out))

    def hits(self) -> Iterator[tuple[int, int, Hit]]:
        """(place among the rows, number, match)."""
        columns = (self._at, self._numbers, self._kinds, self._which, self._rows)
        for at, number, kind, which, row in zip(*columns, strict=True):
            yield at, number, Hit(KINDS[kind], which, row)

    def detail(self, row: int, which: int, kind: Kind) -> str:
        found = in_words(Hit(kind, which, row), self._held_out)
        return found.place or found.of

    def of(self, kind: Kind) -> tuple[int, list[Found]]:
        """How many there are of a kind, and the first of them."""
        wanted = KINDS.index(kind)
        first = islice((one for one in self if one.match.kind == kind), SHOWN)
        return sum(one == wanted for one in self._kinds), list(first)


Matches = dict[str, Matched]


def screen(config: Config, sources: Sources, note: Note) -> Matches:
    """The rows of each split that a held-out row equals or overlaps with; what only concerns the
    user's knowledge is told through `note`.

    Raises:
        DataError: data.contamination or data.privacy is "refuse" and there is something to refuse.
    """
    _personal_data(config, sources, note)
    matches = _matches(config, sources)
    if config.data.contamination == "refuse":
        for split, data in sources.prompts.items():
            _refuse(data, *matches[split].of("equal"))
    if config.prepare.overlap == "warn":
        for split, data in sources.prompts.items():
            _warn(data, *matches[split].of("overlap"), note)
    return matches


def _matches(config: Config, sources: Sources) -> Matches:
    from mwalimu.preparation.public_sets import read_set

    overlaps = config.prepare.overlap != "off"
    matches: Matches = {split: Matched() for split in sources.prompts}
    if config.data.contamination == "allow" and not overlaps:
        return matches
    held_out: list[HeldOut] = [read_set(name) for name in config.prepare.public_sets]
    if sources.test is not None:
        held_out.append(own_rows(sources.test))
    if sources.validation is not None:
        matches["validation"] = _found(sources.validation, held_out, overlaps=overlaps)
        if config.data.contamination == "drop":
            held_out.append(own_rows(sources.validation))
    matches["train"] = _found(sources.train, held_out, overlaps=overlaps)
    return matches


def _found(data: Dataset, held_out: list[HeldOut], *, overlaps: bool) -> Matched:
    matched = Matched(tuple(held_out))
    for at, (number, record) in enumerate(data.numbered() if held_out else ()):
        if (one := hit(record, held_out, overlaps=overlaps)) is not None:
            matched.add(at, number, one)
    return matched


def _refuse(data: Dataset, count: int, found: list[Found]) -> None:
    if not count:
        return
    shown = [f"{data.shards.place(n)}: asks what {_place(m)} asks" for _, n, m in found]
    more = f"\n... and {count - SHOWN} more" if count > SHOWN else ""
    rows = "1 row of it is" if count == 1 else f"{count} rows of it are"
    raise DataError(
        f"{rows} held out as well, so the scores would be of memory\n" + "\n".join(shown) + more,
        where=str(data.path),
        fix="take them out, or set data.contamination to drop (they are left out) or allow",
    )


def _place(found: Match) -> str:
    return found.place or f"a row of {found.of}"


def _warn(data: Dataset, count: int, found: list[Found], note: Note) -> None:
    if count:
        places = ", ".join(data.shards.spoken(number) for _, number, _ in found[:TOLD])
        more = ", ..." if count > TOLD else ""
        note(
            f"{count:,} of {len(data):,} {data.split} rows share 13 words in a row with a "
            f"held-out row ({places}{more} of {data.path}); prepare.overlap: drop leaves "
            f"them out. {LIMITS}"
        )


def _personal_data(config: Config, sources: Sources, note: Note) -> None:
    """Of what a served teacher would be sent, the test rows among it."""
    mode = config.data.privacy
    if mode not in ("warn", "refuse") or not any(one.remote for one in config.teachers()):
        return
    asked = sources.prompts
    if sources.test is not None and "teacher" in config.evaluate.arms:
        asked["test"] = sources.test
    for data in asked.values():
        shown: list[str] = []
        rows = 0
        kinds: Counter[str] = Counter()
        for number, record in data.numbered():
            if here := kinds_in(record, config.data.phone_region):
                if rows < SHOWN:
                    shown.append(f"{data.shards.place(number)}: {', '.join(sorted(here))}")
                rows += 1
                kinds.update(here)
        if rows and mode == "refuse":
            more = f"\n... and {rows - SHOWN} more" if rows > SHOWN else ""
            raise DataError(
                f"rows with personal data or keys: {rows}\n" + "\n".join(shown) + more,
                where=str(data.path),
                fix="take it out, or set data.privacy to mask: the teacher reads placeholders",
            )
        if rows:
            told = ", ".join(f"{kind} in {number}" for kind, number in sorted(kinds.items()))
            note(f"{rows:,} {data.split} rows hold personal data or keys: {told}")


def kinds_in(record: Record, region: str) -> set[str]:
    """The kinds of personal data in what the teacher would read of a row."""
    calls = [message.tool_calls for message in record.messages if message.tool_calls]
    texts = [message.content for message in record.messages]
    texts += [orjson.dumps(part).decode() for part in (*calls, record.tools) if part]
    return {found.kind for text in texts for found in find(text, region)}
