"""What is looked at in every job before anything is paid for: contamination, personal data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import orjson

from mwalimu.config import Config
from mwalimu.data.dataset import Dataset
from mwalimu.data.privacy import find
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.preparation.contamination import LIMITS, HeldOut, Match, match, own_rows

SHOWN = 20  # rows of an error
TOLD = 5  # lines of a warning

Note = Callable[[str], None]


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


Matches = dict[str, list[Found]]


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
            _refuse(data, [found for found in matches[split] if found.match.kind == "equal"])
    if config.prepare.overlap == "warn":
        for split, data in sources.prompts.items():
            _warn(data, [found for found in matches[split] if found.match.kind == "overlap"], note)
    return matches


def _matches(config: Config, sources: Sources) -> Matches:
    from mwalimu.preparation.public_sets import read_set

    overlaps = config.prepare.overlap != "off"
    matches: Matches = {split: [] for split in sources.prompts}
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


def _found(data: Dataset, held_out: list[HeldOut], *, overlaps: bool) -> list[Found]:
    if not held_out:
        return []
    rows = enumerate(data.numbered())
    found = ((i, n, match(one, held_out, overlaps=overlaps)) for i, (n, one) in rows)
    return [Found(at, number, one) for at, number, one in found if one is not None]


def _refuse(data: Dataset, found: list[Found]) -> None:
    if not found:
        return
    shown = [f"{data.shards.place(n)}: asks what {_place(m)} asks" for _, n, m in found[:SHOWN]]
    more = f"\n... and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    rows = "1 row of it is" if len(found) == 1 else f"{len(found)} rows of it are"
    raise DataError(
        f"{rows} held out as well, so the scores would be of memory\n" + "\n".join(shown) + more,
        where=str(data.path),
        fix="take them out, or set data.contamination to drop (they are left out) or allow",
    )


def _place(found: Match) -> str:
    return found.place or f"a row of {found.of}"


def _warn(data: Dataset, found: list[Found], note: Note) -> None:
    if found:
        places = ", ".join(data.shards.spoken(number) for _, number, _ in found[:TOLD])
        more = ", ..." if len(found) > TOLD else ""
        note(
            f"{len(found):,} of {len(data):,} {data.split} rows share 13 words in a row with a "
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
        rows = []
        kinds: Counter[str] = Counter()
        for number, record in data.numbered():
            if here := kinds_in(record, config.data.phone_region):
                rows.append(f"{data.shards.place(number)}: {', '.join(sorted(here))}")
                kinds.update(here)
        if rows and mode == "refuse":
            more = f"\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
            raise DataError(
                f"rows with personal data or keys: {len(rows)}\n" + "\n".join(rows[:SHOWN]) + more,
                where=str(data.path),
                fix="take it out, or set data.privacy to mask: the teacher reads placeholders",
            )
        if rows:
            told = ", ".join(f"{kind} in {number}" for kind, number in sorted(kinds.items()))
            note(f"{len(rows):,} {data.split} rows hold personal data or keys: {told}")


def kinds_in(record: Record, region: str) -> set[str]:
    """The kinds of personal data in what the teacher would read of a row."""
    calls = [message.tool_calls for message in record.messages if message.tool_calls]
    texts = [message.content for message in record.messages]
    texts += [orjson.dumps(part).decode() for part in (*calls, record.tools) if part]
    return {found.kind for text in texts for found in find(text, region)}
