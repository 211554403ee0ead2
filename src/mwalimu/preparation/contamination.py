"""Whether a row asks what a held-out row asks: then a good score is memory, not skill.

| kind | of the user's own files | of a public set |
| --- | --- | --- |
| equal | the same conversation | the same user turns |
| overlap | 13 words of the user turns in a row | likewise |

Case, spacing and punctuation make no difference. Thirteen words are those of Brown et al. 2020,
"Language Models are Few-Shot Learners", appendix C.

Six words that many held-out rows have are a template of the set, not the content of one row:
thirteen words that are a template's for their most part do not count. Neither do system turns.

Limits: a paraphrase or a translation shares no words and is not found, nor is a held-out row of
fewer than 13 words that was changed in more than its writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from mwalimu.data.dataset import Dataset
from mwalimu.data.record import Record
from mwalimu.data.shards import Shards
from mwalimu.preparation.words import (
    Hashes,
    conversation_hash,
    grams,
    text_hash,
    user_turns,
    word_hashes,
    words,
)

OVERLAP_WORDS = 13
# A phrase of so many words is a template's where more than two held-out rows, and more than this
# share of them, have it.
TEMPLATE_WORDS = 6
TEMPLATE_SHARE = 0.01

LIMITS = (
    "Found are equal prompts (case, spacing and punctuation aside) and 13 equal words in a row. "
    "Paraphrases and translations are not found."
)


class Match(NamedTuple):
    """`place` is that of the held-out row; "" where only its hash is known."""

    kind: Literal["equal", "overlap"]
    of: str
    place: str = ""


class Hit(NamedTuple):
    """A match in numbers: `which` of the held-out sets, and the row of it that is equal, else 0."""

    kind: Literal["equal", "overlap"]
    which: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class OwnRows:
    """A held-out set of the user's: conversation hash -> its first row, and (n,) sorted grams."""

    shards: Shards
    numbers: dict[int, int]
    grams: Hashes

    @property
    def name(self) -> str:
        return str(self.shards.path)

    def equal(self, record: Record) -> int | None:
        """The number of the first row that asks the same."""
        return self.numbers.get(conversation_hash(record))

    def place(self, number: int) -> str:
        return self.shards.place(number)


@dataclass(frozen=True, slots=True)
class PublicRows:
    """A public test set: (prompts,) and (grams,) sorted hashes, no text."""

    name: str
    prompts: Hashes
    grams: Hashes

    def equal(self, record: Record) -> int | None:
        """0 where one asks the same: which, its hash does not tell."""
        hashed = np.array([text_hash(user_turns(record))], np.uint64)
        return 0 if _any_in(hashed, self.prompts) else None

    def place(self, _number: int) -> str:
        return ""


HeldOut = OwnRows | PublicRows


def own_rows(data: Dataset) -> OwnRows:
    """Memory grows with the held-out rows: about 100 bytes each and 8 bytes a word."""
    numbers: dict[int, int] = {}
    texts = []
    for number, record in data.numbered():
        numbers.setdefault(conversation_hash(record), number)
        texts.append(user_turns(record))
    return OwnRows(data.shards, numbers, np.unique(np.concatenate(distinctive(texts))))


def overlap_grams(text: str) -> Hashes:
    return grams(word_hashes(words(text)), OVERLAP_WORDS)


def distinctive(texts: Iterable[str]) -> list[Hashes]:
    """Of every text the grams that are its own: those without a template's words for their most
    part. Equal texts count once.
    """
    rows = [word_hashes(words(text)) for text in dict.fromkeys(texts)]
    phrases = [grams(row, TEMPLATE_WORDS) for row in rows]
    found, times = np.unique(
        np.concatenate([np.empty(0, np.uint64), *map(np.unique, phrases)]), return_counts=True
    )
    common = found[times > max(2, TEMPLATE_SHARE * len(rows))]
    return [_own_grams(*pair, common) for pair in zip(rows, phrases, strict=True)]


def _own_grams(row: Hashes, phrases: Hashes, common: Hashes) -> Hashes:
    found = grams(row, OVERLAP_WORDS)
    in_template = np.zeros(len(row), np.int64)
    for start in np.flatnonzero(np.isin(phrases, common)):
        in_template[start : start + TEMPLATE_WORDS] = 1
    before = np.concatenate([[0], in_template.cumsum()])
    inside = before[OVERLAP_WORDS:] - before[:-OVERLAP_WORDS]
    return found[inside[: len(found)] <= OVERLAP_WORDS // 2] if len(found) else found


def match(record: Record, held_out: Sequence[HeldOut], *, overlaps: bool) -> Match | None:
    """The first held-out set that the row is equal to, else the first that it overlaps with."""
    found = hit(record, held_out, overlaps=overlaps)
    return None if found is None else in_words(found, held_out)


def hit(record: Record, held_out: Sequence[HeldOut], *, overlaps: bool) -> Hit | None:
    for which, rows in enumerate(held_out):
        if (number := rows.equal(record)) is not None:
            return Hit("equal", which, number)
    if not overlaps:
        return None
    found = overlap_grams(user_turns(record))
    for which, rows in enumerate(held_out):
        if _any_in(found, rows.grams):
            return Hit("overlap", which)
    return None


def in_words(found: Hit, held_out: Sequence[HeldOut]) -> Match:
    rows = held_out[found.which]
    place = rows.place(found.number) if found.kind == "equal" else ""
    return Match(found.kind, rows.name, place)


def _any_in(wanted: Hashes, known: Hashes) -> bool:
    if not len(known) or not len(wanted):
        return False
    places = np.searchsorted(known, wanted)
    places[places == len(known)] = 0
    return bool((known[places] == wanted).any())
