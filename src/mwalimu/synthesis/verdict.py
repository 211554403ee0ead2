"""What became of a row: accepted, or a named reason why not. Pure functions of the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mwalimu.data.record import Record
from mwalimu.teachers.base import Completion

Status = Literal["ok", "truncated", "refused", "filtered", "invalid", "failed", "duplicate"]

NLI_LABELS = ("entailment", "neutral", "contradiction")
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row's end. `reused`: the answer was in the store, nothing was sent.

    `duplicate_of` is the id of the row that was asked in place of a duplicate.
    """

    record: Record
    status: Status
    completion: Completion | None = None
    reason: str = ""
    request_key: str = ""
    reused: bool = False
    duplicate_of: str = ""


def judge(task: str, completion: Completion, max_tokens: int) -> tuple[Status, str]:
    """The status of an answer and, unless it is "ok", why."""
    reason = completion.finish_reason
    if reason == "length" or completion.usage.completion_tokens > max_tokens:
        return "truncated", f"the answer did not end within {max_tokens} tokens"
    if reason == "refusal":
        return "refused", "the teacher refused"
    if reason == "content_filter":
        return "filtered", "the server's content filter"
    if reason == "error":
        return "failed", completion.detail or "the server gave no reason to have stopped"
    return _judge_text(task, completion.text)


def _judge_text(task: str, text: str) -> tuple[Status, str]:
    if not text.strip():
        return "invalid", "the answer is empty"
    if task == "nli" and text.strip().strip(".").lower() not in NLI_LABELS:
        return "invalid", f"the answer is none of {', '.join(NLI_LABELS)}"
    if task == "math" and not _NUMBER.search(text):
        return "invalid", "the answer has no number"
    return "ok", ""
