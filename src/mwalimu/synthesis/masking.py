"""What leaves for a served teacher, without the personal data in it; the answer gets it back.

The door of a teacher (`Asker`) is the one place that every question passes, whoever asks it. Behind
it are the answer store, the journal and the wire: they hold masked text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from mwalimu.config import Config, TeacherConfig
from mwalimu.data.privacy import Masking, placeholders, unmask
from mwalimu.data.record import Json, Message
from mwalimu.synthesis.ask import Answer, Asker
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.durability import Durability
from mwalimu.teachers.base import Completion, Request, Teacher
from mwalimu.telemetry.setting_up import is_on

Change = Callable[[str], str]


def masks(config: Config, teacher: TeacherConfig) -> bool:
    """Whether this teacher is asked with masked text."""
    return config.data.privacy == "mask" and teacher.remote


def outgoing(config: Config, teacher: TeacherConfig, request: Request) -> Request:
    """The request as it goes out, and as its answer is stored."""
    if not masks(config, teacher):
        return request
    return masked(request, config.data.phone_region)[0]


def build_asker(
    config: Config,
    teacher: Teacher,
    settings: TeacherConfig,
    durability: Durability,
    budget: Budget,
) -> Asker:
    """The door of a teacher, as `data.privacy` wants it; observed where somebody watches."""
    if watched := is_on():
        from mwalimu.synthesis.metrics import watch
        from mwalimu.synthesis.observing import ObservedTeacher

        teacher = ObservedTeacher(teacher)
    guarded = {"mask": MaskingAsker, "refuse": RefusingAsker}.get(config.data.privacy)
    if guarded is None or not settings.remote:
        asker = Asker(teacher, settings, durability, budget)
    else:
        asker = guarded(teacher, settings, durability, budget)
        asker.region = config.data.phone_region
    if watched:
        watch(asker)
    return asker


class GuardedAsker(Asker):
    """`region`: whose phone numbers have no +prefix."""

    region = "US"


class RefusingAsker(GuardedAsker):
    """Sends nothing that is personal. The files were looked through before; this is for what they
    do not hold: a probe's rows, a test file that was changed, what a played user says.
    """

    async def ask(self, request: Request) -> Answer:
        _, mapping = masked(request, self.region)
        if mapping:
            kinds = sorted({placeholder.strip("[]").rsplit("_", 1)[0] for placeholder in mapping})
            return Answer(request.key, None, f"not sent, it holds {', '.join(kinds)}")
        return await super().ask(request)


class MaskingAsker(GuardedAsker):
    """Asks with placeholders, and answers with what they stand for."""

    async def ask(self, request: Request) -> Answer:
        question, mapping = masked(request, self.region)
        return _restored(await super().ask(question), question, mapping)


def masked(request: Request, region: str) -> tuple[Request, dict[str, str]]:
    """(the request with placeholders, placeholder -> what it stands for).

    In messages, in the arguments of tool calls, in descriptions of tools and in the schema.
    """
    masking = Masking(region, avoid=_all_text(request))
    messages = tuple(_message(message, masking.mask) for message in request.messages)
    tools = tuple(_changed(tool, masking.mask) for tool in request.tools)
    schema = _changed(request.schema, masking.mask)
    if not masking.mapping:
        return request, {}
    return replace(request, messages=messages, tools=tools, schema=schema), masking.mapping


def _message(message: Message, change: Change) -> Message:
    calls = tuple(_changed(call, change) for call in message.tool_calls)
    return replace(message, content=change(message.content), tool_calls=calls)


def _restored(answer: Answer, question: Request, mapping: Mapping[str, str]) -> Answer:
    """An answer that names a placeholder nobody gave it is no answer."""
    completion = answer.completion
    if completion is None or not mapping:
        return answer
    said = f"{completion.text} {completion.reasoning} {completion.tool_calls}"
    unknown = placeholders(said) - mapping.keys() - placeholders(_all_text(question))
    if unknown:
        return answer._replace(
            completion=None, reason=f"the answer names {min(unknown)}, which stands for nothing"
        )
    return answer._replace(completion=_unmasked(completion, mapping))


def _unmasked(completion: Completion, mapping: Mapping[str, str]) -> Completion:
    """Log-probabilities are of the masked text: they are dropped with it."""

    def change(text: str) -> str:
        return unmask(text, mapping)

    return replace(
        completion,
        text=change(completion.text),
        reasoning=change(completion.reasoning),
        tool_calls=tuple(_changed(call, change) for call in completion.tool_calls),
        logprobs=None,
    )


def _changed(value: Any, change: Change, key: str = "") -> Any:
    """`value` with every text in it changed; the JSON text of tool arguments is changed inside."""
    if isinstance(value, dict):
        return {change(name): _changed(item, change, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(item, change) for item in value]
    if isinstance(value, str):
        return _arguments(value, change) if key == "arguments" else change(value)
    if isinstance(value, int) and (text := change(str(value))) != str(value):
        return text  # a card's number may be given as a number
    return value


def _arguments(text: str, change: Change) -> str:
    try:
        before = orjson.loads(text)
    except orjson.JSONDecodeError:
        return change(text)
    after = _changed(before, change)
    return text if after == before else orjson.dumps(after).decode()


def _all_text(request: Request) -> str:
    parts: list[Json] = [message.to_json() for message in request.messages]
    return f"{parts} {request.tools} {request.schema}"
