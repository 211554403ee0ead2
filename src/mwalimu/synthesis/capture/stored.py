"""Signals out of answers that were bought already: nothing is asked, and nothing costs.

A served teacher's log-probabilities came with its answers; a local teacher's distribution was kept
while it generated them. What a local teacher did not keep, of answers that are older than the
objective say, it scores in a pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import tee
from pathlib import Path

import orjson

from mwalimu.config import Config, needed_signals
from mwalimu.data.examples import Example
from mwalimu.data.kept import Kept, unpack
from mwalimu.data.vocabulary import vocabulary_fingerprint, vocabulary_size
from mwalimu.run import fingerprint
from mwalimu.signals import Encoding, Identity, RealisedEncoding, TopKEncoding
from mwalimu.synthesis.ask import NO_MEANING
from mwalimu.synthesis.capture.arrays import signals_of
from mwalimu.synthesis.capture.local import local_tokenizer
from mwalimu.synthesis.capture.reported import Reported
from mwalimu.synthesis.capture.scoring import (
    Result,
    Scored,
    Scorer,
    encode,
    score_all,
    spelled_lengths,
    targets_of,
)
from mwalimu.synthesis.capture.served import ServedScorer
from mwalimu.synthesis.store import AnswerStore
from mwalimu.teachers.factory import build_teacher
from mwalimu.teachers.tokenizer import tokenizer_of


class StoredAnswers:
    """The raw answers of a store; it is opened, and locked, from the first look on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()
        self._store: AnswerStore | None = None

    def of(self, example: Example) -> bytes | None:
        if not example.request_key:
            return None
        if self._store is None:
            self._store = self._open.enter_context(AnswerStore(self.folder))
        return self._store.get(example.request_key)

    def close(self) -> None:
        self._open.close()
        self._store = None


class StoredScorer:
    """A served teacher: `topk` and `realised` of its reported log-probabilities."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.names = needed_signals(config)
        self.settings = config.signals
        self.answers = StoredAnswers(folder)
        teacher = build_teacher(config.teacher)
        self._parse = teacher.parse
        self.tokenizer = tokenizer_of(config.teacher)
        self.vocabulary = config.signals.vocabulary or vocabulary_size(self.tokenizer)
        self.identity = Identity(
            teacher=teacher.info.model,
            kind=teacher.info.kind,
            tokenizer=vocabulary_fingerprint(self.tokenizer, self.vocabulary),
            template=fingerprint(self.tokenizer.chat_template),
            vocabulary=self.vocabulary,
            source={
                "log-probabilities": "as the server reported them with the answers: the model's "
                "own, at temperature 1 (OpenAI; raw_logprobs of vLLM)",
                "top_logprobs": config.teacher.top_logprobs,
            },
        )
        how = (self.settings.k, self.settings.top_p)
        self._reported = Reported(self.tokenizer, self.vocabulary, *how)

    def encoding(self, name: str) -> Encoding:
        if name == "topk":
            return TopKEncoding(self.vocabulary, self.settings.k, self.settings.top_p)
        return RealisedEncoding()

    def score(self, examples: Sequence[Example]) -> list[Result]:
        return [self._score(example) for example in examples]

    def close(self) -> None:
        self.answers.close()

    def _score(self, example: Example) -> Result:
        if example.chat[-1].get("tool_calls"):
            return "it calls tools, whose tokens servers do not report"
        if not example.request_key:
            return "no single answer of the teacher's is known to be all that it learns"
        raw = self.answers.of(example)
        if raw is None:
            return "its answer is not in the store"
        try:
            scores = self._parse(raw).logprobs
        except NO_MEANING:
            return "its stored answer has no meaning"
        if not scores:
            return "its answer came without log-probabilities"
        row = encode(self.tokenizer, example)
        if isinstance(row, str):
            return row
        lengths = None
        if "realised" in self.names:
            lengths = spelled_lengths(self.tokenizer, row, example)
        found = self._reported.signals(scores, targets_of(row), self.names, lengths)
        return found if isinstance(found, str) else Scored(row.key, row.target_crc, found)


class StoredThenServed:
    """A served teacher that can score too: it is asked only about what the store does not tell."""

    def __init__(self, stored: StoredScorer, rest: ServedScorer) -> None:
        self.stored = stored
        self.rest = rest
        sources = {"stored": stored.identity.source, "scored": rest.identity.source}
        self.identity = replace(rest.identity, source=sources)

    def encoding(self, name: str) -> Encoding:
        return self.rest.encoding(name)

    def score(self, examples: Sequence[Example]) -> list[Result]:
        told = [one if isinstance(one, Scored) else None for one in self.stored.score(examples)]
        missing = _missing((examples, told))
        return _filled(told, self.rest.score(missing) if missing else [])

    def close(self) -> None:
        self.stored.close()
        self.rest.close()


class KeptScorer:
    """A local teacher: what it kept while it generated, and `rest` for all other rows."""

    def __init__(self, config: Config, folder: Path, rest: Scorer) -> None:
        self.answers = StoredAnswers(folder)
        self.rest = rest
        self.identity = rest.identity
        self.names = needed_signals(config)
        self.tokenizer = local_tokenizer(config.teacher.model)
        self._kept = Kept.of(config).to_json()

    def encoding(self, name: str) -> Encoding:
        return self.rest.encoding(name)

    def score(self, examples: Sequence[Example]) -> list[Result]:
        return next(self.score_all([examples]))

    def score_all(self, batches: Iterable[Sequence[Example]]) -> Iterator[list[Result]]:
        """What lacks in one batch may be scored while the next is looked up."""
        looked_up, asked = tee((batch, self._kept_of(batch)) for batch in batches)
        scored = score_all(self.rest, map(_missing, asked))
        for (_, found), rest in zip(looked_up, scored, strict=True):
            yield _filled(found, rest)

    def _kept_of(self, examples: Sequence[Example]) -> list[Scored | None]:
        return [self._score(example) for example in examples]

    def close(self) -> None:
        self.answers.close()
        self.rest.close()

    def _score(self, example: Example) -> Scored | None:
        """None where nothing was kept, or not what is wanted, or of other ids than are learned."""
        raw = self.answers.of(example)
        kept = None if raw is None else orjson.loads(raw).get("distribution")
        if kept is None or kept["kept"] != self._kept:
            return None
        row = encode(self.tokenizer, example)
        if isinstance(row, str) or kept["ids"] != targets_of(row):
            return None
        lengths = None
        if "realised" in self.names:
            lengths = spelled_lengths(self.tokenizer, row, example)
        return Scored(row.key, row.target_crc, signals_of(unpack(kept["arrays"]), lengths))


def _missing(looked_up: tuple[Sequence[Example], Sequence[Scored | None]]) -> list[Example]:
    return [example for example, one in zip(*looked_up, strict=True) if one is None]


def _filled(found: Sequence[Scored | None], rest: Sequence[Result]) -> list[Result]:
    """The results of `rest` stand for those that are None, in order."""
    left = iter(rest)
    return [next(left) if one is None else one for one in found]
