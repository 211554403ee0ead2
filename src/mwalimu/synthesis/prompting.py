"""How a row is put to the teacher, and how its answer is read back.

The student never sees what is added here: its prompt is the user's own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from mwalimu.config import GenerateConfig
from mwalimu.data.final_answer import MARK, split_final_answer
from mwalimu.data.record import Json, Message, Record
from mwalimu.data.schema import Problem, compile_schema, read_schema
from mwalimu.errors import ConfigError
from mwalimu.teachers.base import Completion

CHAIN_OF_THOUGHT = (
    "Reason step by step first. Then write the final answer, and nothing else, on a last line "
    f"of its own that begins with '{MARK}'."
)
# After Adams et al. 2023, "From Sparse to Dense: GPT-4 Summarization with Chain of Density
# Prompting": the same length, more entities at every step; the last step is the summary.
CHAIN_OF_DENSITY = (
    "Write five summaries of the text, each of at most {words} words and each denser than the one "
    "before. Step 1 is long on words and short on content. At every further step find one to "
    "three informative entities of the text that the summary misses, then rewrite it at the same "
    "length with them, dropping no entity that it had. Reply with a JSON list of five objects "
    'with the keys "missing_entities" and "summary", and with nothing else.'
)
NOT_REASONED = {"summarization", "conversation"}


class Reading(NamedTuple):
    """`answer` is what is judged; `target` what the student learns; `problem` why it is neither."""

    answer: str = ""
    target: str = ""
    rationale: str = ""
    problem: str = ""


class Prompting:
    """The settings of `generate` that shape the question and the reading of its answer."""

    def __init__(self, settings: GenerateConfig, task: str) -> None:
        self.settings = settings
        if settings.chain_of_thought and task in NOT_REASONED:
            raise ConfigError(
                f"does not suit task {task}", where="generate.chain_of_thought", fix="drop it"
            )
        if settings.chain_of_density and task not in ("summarization", "generic"):
            raise ConfigError("is for summaries", where="generate.chain_of_density", fix="drop it")

    @cached_property
    def schema(self) -> Json | None:
        """The user's JSON schema. Raises ConfigError when it cannot be read."""
        path = self.settings.json_schema
        return None if path is None else read_schema(path)

    @cached_property
    def _schema_problem(self) -> Problem:
        return compile_schema(self.schema or {}, where=str(self.settings.json_schema))

    def question(self, record: Record, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation as the teacher sees it."""
        if self._reasons(record):
            return with_instruction(messages, CHAIN_OF_THOUGHT)
        if self._densifies(record):
            words = self.settings.max_summary_words
            return with_instruction(messages, CHAIN_OF_DENSITY.format(words=words))
        return messages

    def read(self, record: Record, completion: Completion) -> Reading:
        """Splits the reasoning off and checks the form that was asked for."""
        text, rationale = completion.text, completion.reasoning
        if self._reasons(record):
            parts = split_final_answer(text)
            if parts is None:
                return Reading(problem=f"the answer has no line that begins with '{MARK}'")
            rationale = "\n\n".join(filter(None, (rationale, parts[0])))
            text = parts[1]
        elif self._densifies(record):
            text, problem = _densest(text)
            if problem:
                return Reading(problem=problem)
        if self.schema is not None and (problem := self._schema_problem(text)):
            return Reading(problem=problem)
        return self._shape(text, rationale, marked=self._reasons(record))

    def _shape(self, text: str, rationale: str, *, marked: bool) -> Reading:
        mode = self.settings.rationale
        if not rationale or mode == "drop":
            return Reading(text, text)
        if mode == "keep":
            return Reading(text, text, rationale)
        return Reading(text, f"{rationale}\n{MARK} {text}" if marked else f"{rationale}\n\n{text}")

    def _reasons(self, record: Record) -> bool:
        return self.settings.chain_of_thought and record.task not in NOT_REASONED

    def _densifies(self, record: Record) -> bool:
        return self.settings.chain_of_density and record.task == "summarization"


def with_instruction(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """The instruction at the end of the system turn, or as one."""
    first = messages[0]
    if first.role == "system":
        joined = replace(first, content=f"{first.content}\n\n{instruction}")
        return (joined, *messages[1:])
    return (Message("system", instruction), *messages)


def _densest(text: str) -> tuple[str, str]:
    """(the last summary of the chain, or "" and the problem)."""
    start, end = text.find("["), text.rfind("]")
    try:
        steps = json.loads(text[start : end + 1])
        summary = str(steps[-1]["summary"]).strip()
    except (ValueError, KeyError, TypeError, IndexError):
        return "", "the answer is not the list of summaries that was asked for"
    return summary, "" if summary else "the last summary of the chain is empty"
