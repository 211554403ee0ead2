"""When two answers are the same: when the grader of the row's task could not tell them apart."""

from __future__ import annotations

import json
from collections.abc import Hashable

from mwalimu.data.chat import canonical_calls
from mwalimu.data.grading import LABEL, NUMBER, final_number, grader_of, normal_label, normalise
from mwalimu.data.record import Json
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.verdict import Outcome

FREE_TEXT = {"summarization", "conversation"}
"""Tasks in which no two good answers are the same word for word."""


def final_text(outcome: Outcome, prompting: Prompting) -> str:
    """What is graded of an ok outcome: without its reasoning, wherever that is to be kept.

    Calls are written as in the reference of a row whose gold answer calls.
    """
    completion = outcome.completion
    if completion is None:
        return outcome.text
    if completion.tool_calls:
        parts = [completion.text.strip(), calls_text(completion.tool_calls)]
        return "\n".join(filter(None, parts))
    return prompting.read(outcome.record, completion).answer


def calls_text(calls: tuple[Json, ...]) -> str:
    """The calls without their ids, which differ in every answer."""
    try:
        return canonical_calls(calls)
    except (ValueError, KeyError, TypeError, AttributeError):  # a model wrote them
        plain = [call.get("function", call) for call in calls]
        return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def same(outcome: Outcome, prompting: Prompting) -> Hashable:
    """Equal for ok outcomes of one row that give the same answer."""
    completion = outcome.completion
    if completion is not None and completion.tool_calls:
        return calls_text(completion.tool_calls)
    text = final_text(outcome, prompting)
    if prompting.schema is not None:
        return json.dumps(json.loads(text), sort_keys=True)
    return same_text(outcome.record.task, text)


def same_text(task: str, text: str) -> Hashable:
    """Equal for texts that `grade` would call equal; where it measures degrees, for equal texts."""
    if task in FREE_TEXT:
        return " ".join(text.split())
    grader = grader_of(task)
    if grader is LABEL:
        return normal_label(text)
    if grader is NUMBER and (number := final_number(text)) is not None:
        return number
    return normalise(text)
