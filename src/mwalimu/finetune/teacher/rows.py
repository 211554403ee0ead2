"""A job's rows as the student encodes them beside their conversations, found by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from mwalimu.data.byte_spans import byte_lengths
from mwalimu.data.examples import Example, examples_of
from mwalimu.data.tokenize import Encoded, encode_example
from mwalimu.errors import NoTargetTokens


@dataclass(slots=True)
class JobRows:
    """`tokenizer` is the student's. Byte lengths are found once a row: proving them takes time."""

    tokenizer: Any
    examples: Mapping[bytes, Example]
    _lengths: dict[bytes, list[int] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, tokenizer: Any, rows: Iterable[Mapping[str, Any]]) -> JobRows:
        return cls(tokenizer, {e.key: e for row in rows for e in examples_of(row)})

    def byte_lengths(self, row: Encoded) -> list[int] | None:
        """Of the row's target tokens; None where they cannot be proved."""
        if row.key not in self._lengths:
            ids = row.answer
            self._lengths[row.key] = byte_lengths(
                self.tokenizer, ids, answer_of(self.examples[row.key]), truncated=row.truncated
            )
        return self._lengths[row.key]

    def encoded_by(self, tokenizer: Any, context: int) -> dict[bytes, Encoded]:
        """Every row as another model sees it; those that it cannot hold are left out."""
        found = {}
        for key, example in self.examples.items():
            try:
                row = encode_example(
                    tokenizer,
                    example.chat,
                    example.tools,
                    max_length=context,
                    row_id=example.row_id,
                    key=key,
                )
            except (TemplateError, NoTargetTokens):
                continue
            if not row.truncated:
                found[key] = row
        return found


def with_answer(own: Encoded | None, row: Encoded) -> Encoded:
    """The prompt of `own`, the row as another model sees it, and the answer of `row`, which may be
    cut, or another one."""
    if own is None:
        return row
    return row.with_answer(own.prompt, row.answer)


def answer_of(example: Example) -> str:
    return str(example.chat[-1]["content"])
