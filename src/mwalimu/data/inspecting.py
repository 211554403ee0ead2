"""What a file of rows holds, found in one pass.

Memory grows with the number of different lengths, not with the rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

from mwalimu.data.formats.source import Source
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Record
from mwalimu.data.seen import FirstSeen
from mwalimu.data.shards import SHOWN_PROBLEMS

LABELS = 200  # different short answers; with more of them they are texts and no labels
LABEL_WORDS = 6
LANGUAGE_ROWS = 1000  # whose language is looked at
QUANTILES = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Least, median, 95th percentile and most of a length."""

    least: int
    median: int
    p95: int
    most: int

    @classmethod
    def of(cls, counts: Counter[int]) -> Lengths:
        """The percentiles by nearest rank."""
        total = counts.total()
        ranks = [max(1, -(-int(q * 100) * total // 100)) for q in QUANTILES]
        found: list[int] = []
        passed = 0
        for length in sorted(counts):
            passed += counts[length]
            found += [length for rank in ranks[len(found) :] if rank <= passed]
        median, p95 = found
        return cls(min(counts), median, p95, max(counts))


@dataclass(slots=True)
class Inspection:
    """`rows` are the readable ones; lengths are of prompts (all turns before the answer) and of
    answers, in characters and in words between spaces.
    """

    format: str
    rows: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    turns: dict[int, int] = field(default_factory=dict)
    with_system: int = 0
    with_tools: int = 0
    with_answer: int = 0
    lengths: dict[str, Lengths] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    repeated_prompts: int = 0
    languages: dict[str, int] = field(default_factory=dict)
    problems_found: int = 0
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inspect_rows(source: Source) -> Inspection:
    """Everything about a file that can be counted. Raises DataError where it cannot be read."""
    found = Inspection(source.format.name)
    counts = _Counts()
    language_of = _language_guesser()
    languages: Counter[str] = Counter()
    with FirstSeen() as prompts:
        for line, record in source.records():
            if isinstance(record, BadRow):
                found.problems_found += 1
                if len(found.problems) < SHOWN_PROBLEMS:
                    found.problems.append(source.shards.told(record))
                continue
            found.rows += 1
            counts.add(record)
            found.repeated_prompts += prompts.first(_digest(record), line) is not None
            if language_of is not None and found.rows <= LANGUAGE_ROWS:
                languages[language_of(record.messages[-1].content)] += 1
    counts.tell(found)
    found.languages = dict(languages.most_common())
    return found


class _Counts:
    def __init__(self) -> None:
        self.tasks: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.has: Counter[str] = Counter()
        self.lengths: dict[str, Counter[int]] = {}
        self.labels: Counter[str] = Counter()
        self.are_labels = True

    def add(self, record: Record) -> None:
        self.tasks[record.task] += 1
        self.turns[len(record.messages) + (record.reference is not None)] += 1
        self.has["system"] += record.messages[0].role == "system"
        self.has["tools"] += bool(record.tools)
        self._measure("prompt", "\n".join(message.content for message in record.messages))
        if record.reference is not None:
            self.has["answer"] += 1
            self._measure("answer", record.reference)
            self._label(record.reference)

    def _measure(self, what: str, text: str) -> None:
        self.lengths.setdefault(f"{what} characters", Counter())[len(text)] += 1
        self.lengths.setdefault(f"{what} words", Counter())[len(text.split())] += 1

    def _label(self, answer: str) -> None:
        self.are_labels = self.are_labels and len(answer.split()) <= LABEL_WORDS
        if self.are_labels:
            self.labels[answer.strip()] += 1
            self.are_labels = len(self.labels) <= LABELS

    def tell(self, found: Inspection) -> None:
        found.tasks = dict(self.tasks.most_common())
        found.turns = dict(sorted(self.turns.items()))
        found.with_system, found.with_tools = self.has["system"], self.has["tools"]
        found.with_answer = self.has["answer"]
        found.lengths = {what: Lengths.of(counts) for what, counts in self.lengths.items()}
        found.labels = dict(self.labels.most_common()) if self.are_labels else {}


def _digest(record: Record) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for message in record.messages:
        digest.update(repr((message.role, message.content)).encode())
    return digest.digest()


def _language_guesser() -> Callable[[str], str] | None:
    """None where py3langid is not installed."""
    try:
        classify = import_module("py3langid").classify
    except ImportError:
        return None
    return lambda text: str(classify(text)[0])
