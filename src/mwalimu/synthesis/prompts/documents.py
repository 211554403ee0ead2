"""Questions that passages of documents answer, or the passages themselves to be summarised.

A prompt holds its passage, so that teacher and student answer out of it. One document at a time is
in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from mwalimu.data.record import Message
from mwalimu.errors import DataError, explained
from mwalimu.synthesis.prompts.base import (
    Ask,
    Candidate,
    Method,
    Source,
    asks_for,
    instructed,
    single_turn,
)
from mwalimu.synthesis.prompts.reading import read_prompts
from mwalimu.synthesis.prompts.templates import fill
from mwalimu.synthesis.verdict import Outcome

SUFFIXES = (".txt", ".md")
MIN_WORDS = 8  # of a passage: a heading alone answers nothing
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\s*\n))*")
_SENTENCE = re.compile(r"\S.*?(?:[.!?。]+[\"'”)]*(?=\s|$)|\n|$)", re.DOTALL)


class Passage(NamedTuple):
    """`start` and `end` are characters of the document."""

    document: str
    start: int
    end: int
    text: str


class Documents(Method):
    """`summaries`: the passages are the prompts, and nobody is asked."""

    def __init__(self, source: Source, *, summaries: bool) -> None:
        super().__init__(source)
        self.summaries = summaries
        self._passages = self._all()
        instruction = source.templates["documents"]
        self._instruction = fill(instruction, count=source.settings.per_request)

    def round(self, number: int, wanted: int) -> Iterator[Ask]:
        several = wanted if self.summaries else asks_for(wanted, self.source)
        for index, (passage, again) in enumerate(islice(self._passages, several)):
            facts = {
                "method": "documents",
                "round": number,
                "document": passage.document,
                "span": [passage.start, passage.end],
            }
            asked: tuple[Message, ...] = ()
            if not self.summaries:
                asked = instructed(self._instruction, passage.text)
            system = self.source.settings.system or ""
            identifier = f"r{number}-{index:05d}"
            yield Ask(
                identifier, asked, facts, system, again, text=passage.text, known=self.summaries
            )

    def read(self, ask: Ask, outcome: Outcome) -> Iterable[Candidate]:
        if self.summaries:
            content = fill(self.source.templates["document_summary"], passage=ask.text)
            yield Candidate(ask.text, single_turn(ask.system, content), ())
            return
        form = self.source.templates["document_question"]
        for question in read_prompts(outcome.text):
            content = fill(form, passage=ask.text, question=question)
            yield Candidate(question, single_turn(ask.system, content), (question,))

    def _all(self) -> Iterator[tuple[Passage, int]]:
        """Every passage, again and again; a summary of one is asked for once."""
        settings = self.source.settings
        assert settings.documents is not None
        for again in count() if not self.summaries else (0,):
            for passage in passages(settings.documents, settings.chunk_words):
                yield passage, again


def passages(folder: Path, most_words: int) -> Iterator[Passage]:
    """Of all documents in the folder and below it, in the order of their names.

    Raises:
        DataError: there is no document with text in it, or one that cannot be read.
    """
    found = False
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in sorted(files):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise explained(error, str(path)) or DataError(
                f"cannot be read ({error})", where=str(path)
            ) from None
        for start, end in spans(text, most_words):
            if len(text[start:end].split()) >= MIN_WORDS:
                found = True
                yield Passage(path.relative_to(folder).as_posix(), start, end, text[start:end])
    if not found:
        fix = f"put {' or '.join(SUFFIXES)} files into it"
        raise DataError("has no documents with text", where=str(folder), fix=fix)


def spans(text: str, most_words: int) -> list[tuple[int, int]]:
    """Whole paragraphs put together up to `most_words`; one that is longer is cut at sentences.

    A sentence that is longer still stays whole.
    """
    found: list[tuple[int, int]] = []
    used = 0
    for start, end in _pieces(text, most_words):
        words = len(text[start:end].split())
        if found and used + words <= most_words:
            found[-1] = (found[-1][0], end)
            used += words
        else:
            found.append((start, end))
            used = words
    return found


def _pieces(text: str, most_words: int) -> Iterator[tuple[int, int]]:
    for paragraph in _PARAGRAPH.finditer(text):
        if len(paragraph[0].split()) <= most_words:
            yield paragraph.start(), paragraph.start() + len(paragraph[0].rstrip())
            continue
        for sentence in _SENTENCE.finditer(paragraph[0]):
            start = paragraph.start() + sentence.start()
            yield start, start + len(sentence[0].rstrip())
