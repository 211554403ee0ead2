"""Whole conversations from the teacher: every turn of a given one, or a new one with a played user.

Both serve rows of task conversation and generic; a row of another task gets its plain answer.
Each turn is judged like a single answer, and one that is not ok ends the row with its status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from mwalimu.config import Config
from mwalimu.data.record import Message
from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Answerer, Member, Row
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Request

SUITED = ("conversation", "generic")
NO_RESULT = "the teacher calls a tool, and nobody has its result"

# In the manner of simulated users for task dialogue (Yao et al. 2024, "tau-bench").
PLAY_THE_USER = (
    "You play a person who talks to an assistant; the messages you get are the assistant's. You "
    "are the one who wrote your first message in this conversation: keep that person's matter, "
    "knowledge, mood and manner of writing. Stay in character: never help, never answer on the "
    "assistant's behalf, never mention that you play.\n"
    "Reply with your next message to the assistant and nothing else. When your matter is settled, "
    "reply exactly [END]."
)
OPEN = "(The conversation begins. Write your first message to the assistant.)"
_END = re.compile(r"\[END\]", re.IGNORECASE)


def require_suited(config: Config) -> None:
    """Raises ConfigError where a conversation is asked for and the task is none."""
    mode = config.generate.conversation
    if mode != "last" and config.task not in SUITED:
        raise ConfigError(
            f"{mode} does not suit task {config.task}",
            where="generate.conversation",
            fix=f"drop it, or set task to {' or '.join(SUITED)}",
        )


async def relabel(row: Row, answerer: Answerer) -> Outcome:
    """Every assistant turn becomes the teacher's own, asked with its own earlier turns.

    The user's turns stay, and so does an assistant turn that calls tools with the results behind
    it: those are facts, which another call would not have.
    """
    record = row.record
    if record.task not in SUITED or not any(map(is_text, record.messages)):
        return await answerer(row)
    history: list[Message] = []
    written: list[Outcome] = []
    for message in record.messages:
        if is_text(message):
            number = len(written) + 1
            outcome = await _turn(row, answerer, history, number)
            if outcome.status == "ok" and _calls(outcome):
                outcome = replace(outcome, status="invalid", reason=f"turn {number}: {NO_RESULT}")
            if outcome.status != "ok":
                return outcome
            written.append(outcome)
            message = Message("assistant", outcome.text)
        history.append(message)
    outcome = await _turn(row, answerer, history, len(written) + 1)
    return outcome if outcome.status != "ok" else _whole(outcome, history, written)


async def simulate(row: Row, answerer: Answerer, user: Member, turns: int) -> Outcome:
    """A new conversation from the record's system turn and first user turn.

    It ends after `turns` answers, when `user` says that its matter is settled (a last word beside
    that is answered) or says nothing usable, and where the teacher calls a tool. The last turn is
    always the teacher's.
    """
    history = opening(row.record.messages)
    if row.record.task not in SUITED or not history:
        return await answerer(row)
    written: list[Outcome] = []
    keys: list[str] = []
    ended = ""
    while True:
        outcome = await _turn(row, answerer, history, len(written) + 1)
        if outcome.status != "ok":
            return outcome
        if _calls(outcome):
            ended = "a tool call"
        elif len(written) + 1 == turns:
            ended = ended or "all turns"
        if ended:
            break
        answered = [*history, Message("assistant", outcome.text)]
        said = await _ask_user(row, user, answered)
        keys.append(said.key)
        ended = said.ended
        if not said.text:
            break
        written.append(outcome)
        history = [*answered, Message("user", said.text)]
    facts = {"user_model": user.name, "user_keys": keys, "ended": ended}
    return _whole(outcome, history, written, facts)


class _Said(NamedTuple):
    """The user's next message, if any; `ended` says why there is no other after it."""

    text: str
    ended: str
    key: str


async def _ask_user(row: Row, user: Member, conversation: Sequence[Message]) -> _Said:
    """The conversation from the other side; many chat templates want a user turn to begin it."""
    turns = [message for message in conversation if message.role != "system"]
    view = [Message("assistant" if m.role == "user" else "user", m.content) for m in turns]
    messages = (Message("system", PLAY_THE_USER), Message("user", OPEN), *view)
    answer = await row.ask(user.asker, Request(user.name, messages, user.sampling, row.sample))
    if answer.completion is None:
        return _Said("", "the user model: failed", answer.key)
    status, _ = user.judge(answer.completion, user.sampling.max_tokens)
    if status != "ok":
        return _Said("", f"the user model: {status}", answer.key)
    text, *end = _END.split(answer.completion.text, maxsplit=1)
    return _Said(text.strip(), "settled" if end else "", answer.key)


async def _turn(row: Row, answerer: Answerer, history: Sequence[Message], number: int) -> Outcome:
    outcome = await answerer(row, messages=tuple(history))
    if outcome.status == "ok":
        return outcome
    return replace(outcome, reason=f"turn {number}: {outcome.reason}")


def _whole(
    last: Outcome,
    history: Sequence[Message],
    written: Sequence[Outcome],
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Outcome:
    """The last turn's outcome, for the conversation; `earlier` tells of the turns before it."""
    told = {
        "turns": len(written) + 1,
        "earlier": [{"request_key": one.request_key} | one.provenance for one in written],
    }
    return replace(last, messages=tuple(history), provenance={**last.provenance, **told, **facts})


def opening(messages: Sequence[Message]) -> list[Message]:
    """The system turn, if any, and the first user turn; nothing where there is no user turn."""
    first = next((index for index, m in enumerate(messages) if m.role == "user"), None)
    if first is None:
        return []
    return [*(m for m in messages[:first] if m.role == "system"), messages[first]]


def is_text(message: Message) -> bool:
    """An assistant turn that says something, and calls nothing."""
    return message.role == "assistant" and not message.tool_calls


def _calls(outcome: Outcome) -> bool:
    return outcome.completion is not None and bool(outcome.completion.tool_calls)
