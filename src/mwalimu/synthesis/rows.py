"""Outcomes as rows of a file: what was accepted, and what was not with its reason."""

from __future__ import annotations

from typing import Any

import orjson

from mwalimu.synthesis.verdict import Outcome


def accepted_row(outcome: Outcome) -> dict[str, Any]:
    """The row with the teacher's answer as its last message; the gold answer, if any, beside it.

    `learn: all` tells stage 2 that every assistant turn is the teacher's.
    """
    assert outcome.completion is not None
    record = outcome.record
    answer: dict[str, Any] = {"role": "assistant", "content": outcome.text}
    if outcome.completion.tool_calls:
        answer["tool_calls"] = list(outcome.completion.tool_calls)
    before = record.messages if outcome.messages is None else outcome.messages
    row: dict[str, Any] = {
        "id": record.id,
        "task": record.task,
        "messages": [*(message.to_json() for message in before), answer],
        "teacher": {"model": outcome.completion.model, "request_key": outcome.request_key}
        | outcome.provenance,
    }
    if outcome.messages is not None:
        row["learn"] = "all"
    if outcome.rationale:
        row["rationale"] = outcome.rationale
    if record.tools:
        row["tools"] = list(record.tools)
    if record.reference is not None:
        row["reference"] = record.reference
    if record.metadata:
        row["metadata"] = record.metadata
    return row


def reject_row(outcome: Outcome) -> dict[str, Any]:
    row = outcome.record.to_json() | {"status": outcome.status, "reason": outcome.reason}
    if outcome.completion is not None:
        row["answer"] = outcome.completion.text
    if outcome.provenance:
        row["teacher"] = outcome.provenance
    if outcome.duplicate_of:
        row["duplicate_of"] = outcome.duplicate_of
    return row


def to_line(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate, which a server's \ud800 makes
        return orjson.dumps(_mended(row), option=orjson.OPT_APPEND_NEWLINE)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list | tuple) else value
