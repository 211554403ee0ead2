"""What became of a row: accepted, or a named reason why not. Pure functions of the answer."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Literal

from mwalimu.data.grading import NLI_LABELS
from mwalimu.data.record import Message, Record, value_class
from mwalimu.teachers.base import Completion

Status = Literal["ok", "truncated", "refused", "filtered", "invalid", "failed", "duplicate"]

_NUMBER = re.compile(r"\d")


@value_class
class Outcome:
    """One row's end.

    `text` is the target, `rationale` the reasoning where it is kept beside it. `messages` is the
    conversation before the target where the teacher wrote more of it than the last turn.
    `reused`: the answer was in the store, nothing was sent. `duplicate_of` is the id of the row
    that was asked in place of a duplicate. `provenance` tells who was asked and why this answer.
    """

    record: Record
    status: Status
    reason: str = ""
    text: str = ""
    rationale: str = ""
    completion: Completion | None = None
    request_key: str = ""
    reused: bool = False
    duplicate_of: str = ""
    messages: tuple[Message, ...] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def judge(completion: Completion, max_tokens: int) -> tuple[Status, str]:
    """The status of an answer by how it ended and, unless it is "ok", why.

    Servers are known to say "stop" of an answer that they cut: one that fills the limit is not
    believed.
    """
    reason = completion.finish_reason
    if reason == "length" or (completion.usage.completion_tokens >= max_tokens):
        return "truncated", f"the answer did not end within {max_tokens} tokens"
    if reason == "refusal":
        return "refused", "the teacher refused"
    if reason == "content_filter":
        return "filtered", "the server's content filter"
    if reason == "error":
        return "failed", completion.detail or "the server gave no reason to have stopped"
    if not completion.text.strip() and not completion.tool_calls:
        return "invalid", "the answer is empty"
    return "ok", ""


def judge_text(task: str, text: str) -> tuple[Status, str]:
    """Whether the final answer is one that the task allows."""
    if not text.strip():
        return "invalid", "the answer is empty"
    if task == "nli" and text.strip().strip(".").lower() not in NLI_LABELS:
        return "invalid", f"the answer is none of {', '.join(NLI_LABELS)}"
    if task == "math" and not _NUMBER.search(text):
        return "invalid", "the answer has no number"
    return "ok", ""
