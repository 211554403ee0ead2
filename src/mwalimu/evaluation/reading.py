"""A model reads texts that are given: how probable it finds them, token by token.

One forward pass a batch, the logits of a batch bounded in size; the end of turn counts as a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mwalimu.data.record import Message, Record
from mwalimu.data.tokenize import encode_example
from mwalimu.errors import NoTargetTokens
from mwalimu.evaluation.generate import Answerer
from mwalimu.evaluation.metrics.divergence import Divergence

LOGITS = 1 << 26  # numbers in the logits of one batch


class Read(NamedTuple):
    """Log-probability in nats of a text with its end, over so many tokens."""

    log_prob: float
    tokens: int


class _Row(NamedTuple):
    place: int
    ids: list[int]
    start: int  # of the answer


def read_texts(
    answerer: Answerer, records: Sequence[Record], texts: Sequence[str]
) -> list[Read | None]:
    """Each text as the answer to its record; None where the two do not fit the context."""
    found: list[Read | None] = [None] * len(records)
    for batch in _batches(answerer, records, texts):
        for row, logits_TV in zip(batch, _logits(answerer, batch), strict=True):
            targets_T = logits_TV.new_tensor(row.ids[row.start :], dtype=_long())
            taken_T = logits_TV.float().log_softmax(-1).gather(-1, targets_T[:, None])
            found[row.place] = Read(float(taken_T.double().sum()), len(targets_T))
    return found


def diverge(
    teacher: Answerer, student: Answerer, records: Sequence[Record], texts: Sequence[str]
) -> Divergence:
    """Both models read the same texts; their tokenizers must agree, and the student's is used."""
    total = Divergence()
    for batch in _batches(student, records, texts):
        pairs = zip(_logits(teacher, batch), _logits(student, batch), strict=True)
        for teacher_TV, student_TV in pairs:
            total.add(teacher_TV, student_TV.to(teacher_TV.device))
    return total


def _batches(
    answerer: Answerer, records: Sequence[Record], texts: Sequence[str]
) -> Iterator[list[_Row]]:
    rows = _encoded(answerer, records, texts)
    width = answerer.model.config.get_text_config().vocab_size
    start = 0
    while start < len(rows):
        size = max(1, LOGITS // (len(rows[start].ids) * width))
        yield rows[start : start + size]
        start += size


def _encoded(answerer: Answerer, records: Sequence[Record], texts: Sequence[str]) -> list[_Row]:
    """Longest first."""
    rows = []
    for place, (record, text) in enumerate(zip(records, texts, strict=True)):
        chat = (*record.messages, Message("assistant", text))
        try:
            encoded = encode_example(
                answerer.tokenizer, chat, record.tools, max_length=answerer.context
            )
        except NoTargetTokens:
            continue
        if not encoded.truncated:
            rows.append(_Row(place, encoded.ids, encoded.labels_mask.index(True)))
    return sorted(rows, key=lambda row: (-len(row.ids), row.place))


def _logits(answerer: Answerer, batch: Sequence[_Row]) -> list[Any]:
    """Of each row, (answer's tokens, vocabulary): what was expected before each was seen."""
    import torch

    width, device = len(batch[0].ids), answerer.model.device
    pad = answerer.tokenizer.pad_token_id
    ids = [row.ids + [pad] * (width - len(row.ids)) for row in batch]
    mask = [[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in batch]
    with torch.inference_mode():
        logits_BTV = answerer.model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            use_cache=False,
        ).logits
    return [
        logits_TV[row.start - 1 : len(row.ids) - 1]
        for row, logits_TV in zip(batch, logits_BTV, strict=True)
    ]


def _long() -> Any:
    import torch

    return torch.long
