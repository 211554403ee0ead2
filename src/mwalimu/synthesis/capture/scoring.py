"""What every scorer is, and how it finds the ids that it is asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from jinja2 import TemplateError

from mwalimu.data.byte_spans import byte_lengths
from mwalimu.data.context import UNLIMITED
from mwalimu.data.examples import Example
from mwalimu.data.kept import draw_key
from mwalimu.data.tokenize import Encoded, encode_example
from mwalimu.errors import NoTargetTokens
from mwalimu.signals import Encoding, Identity, Signal


class Scored(NamedTuple):
    """`key` and `crc` of the target ids are the reader's; `signals` are by encoding."""

    key: bytes
    crc: int
    signals: dict[str, Signal]


Result = Scored | str
"""The signals of an example, or why there are none."""


class Scorer(Protocol):
    """A teacher that says what it thinks of answers that exist already."""

    identity: Identity

    def encoding(self, name: str) -> Encoding: ...

    def score(self, examples: Sequence[Example]) -> list[Result]:
        """One an example, in order; depends on nothing else but the examples."""

    def close(self) -> None:
        """Nothing is scored after it."""


class ManyScorer(Scorer, Protocol):
    """One that can score several batches at once."""

    def score_all(self, batches: Iterable[Sequence[Example]]) -> Iterator[list[Result]]:
        """`score` of each, in order; `batches` is read some way ahead of what is given out."""


def score_all(scorer: Scorer, batches: Iterable[Sequence[Example]]) -> Iterator[list[Result]]:
    """`score` of each batch, in order: one after the other, where the scorer knows no better."""
    many = getattr(scorer, "score_all", None)
    results: Iterator[list[Result]] = map(scorer.score, batches) if many is None else many(batches)
    return results


def encode(tokenizer: Any, example: Example, context: int = UNLIMITED) -> Encoded | str:
    """The row as the student learns it, or why the teacher cannot be asked about it."""
    try:
        row = encode_example(
            tokenizer,
            example.chat,
            example.tools,
            max_length=context,
            row_id=example.row_id,
            key=example.key,
        )
    except TemplateError:
        return "the teacher's chat template refuses it"
    except NoTargetTokens:
        return "it is longer than the teacher's context"
    return "it is longer than the teacher's context" if row.truncated else row


def targets_of(row: Encoded) -> list[int]:
    """The ids of the answer and of the end of its turn."""
    return row.ids[-row.targets :]


def spelled_lengths(tokenizer: Any, row: Encoded, example: Example) -> list[int] | None:
    """The bytes of the answer that each target covers; None where that cannot be proved."""
    text = example.chat[-1].get("content")
    return byte_lengths(tokenizer, targets_of(row), text if isinstance(text, str) else "")


def key_of_draws(example: Example) -> bytes:
    """That of the request that bought the answer, so that both ways of capture draw alike."""
    return draw_key(example.request_key) if example.request_key else example.key
