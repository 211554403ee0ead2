"""Answers that were paid for elsewhere become answers of the store: no run buys them again.

A request's key holds the teacher, the conversation and the sampling, so what is imported has to be
what the job would ask: a row by another model or drawn at another temperature is left out, and
counted by its reason. Money: what was bought elsewhere is on no run's account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from mwalimu.config import Config, TeacherConfig
from mwalimu.data.chat import BadValue, arguments_of
from mwalimu.data.formats import Exchange
from mwalimu.data.formats.source import Source
from mwalimu.data.readers import BadRow, default_id, to_record
from mwalimu.data.record import Json, Record
from mwalimu.data.shards import Shards
from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Member, first_request
from mwalimu.synthesis.ask import NO_MEANING, Asker
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.prompting import Prompting
from mwalimu.synthesis.store import AnswerStore, Stored
from mwalimu.teachers.anthropic_messages import AnthropicMessages
from mwalimu.teachers.base import Completion, Request, Sampling
from mwalimu.teachers.factory import build_teacher
from mwalimu.teachers.openai_chat import OpenAIChat

NO_ACCOUNT = ""
USUAL = {"temperature": 1.0, "top_p": 1.0}  # of the providers, where a request names none


@dataclass(slots=True)
class Imported:
    """`rows` are all rows of `shards`; they are `kept`, `known` before, or left out by reason."""

    shards: Shards
    rows: int = 0
    kept: int = 0
    known: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[BadRow] = field(default_factory=list)

    def to_json(self) -> Json:
        return {
            "rows": self.rows,
            "kept": self.kept,
            "known": self.known,
            "left_out": dict(self.left_out.most_common()),
        }


class _Paid(NamedTuple):
    record: Record
    exchange: Exchange
    completion: Completion


def import_answers(
    config: Config, source: Source, store: Path, *, model: str | None = None
) -> Imported:
    """Puts the answers that the job of `config` would ask for into the answer store.

    `model` is what the log calls the job's teacher, where that is not `teacher.model`.

    Raises:
        DataError: no row of the file can be used.
        ConfigError: the file holds no answers, or the teacher is no server.
    """
    if source.format.exchange is None:
        raise ConfigError(
            f"is in format {source.format.name}, which holds no paid answers",
            where=str(source.path),
            fix="name results of a batch or a log; or use its answers as labels, in data.labelled",
        )
    if config.teacher.resolved_kind not in ("openai_compatible", "azure", "anthropic"):
        raise ConfigError(
            f"is {config.teacher.resolved_kind}, whose answers depend on the batch they are in",
            where="teacher",
            fix="imported answers are for a served teacher",
        )
    found = Imported(source.shards)
    prompting = Prompting(config.generate, config.task)
    with AnswerStore(store, NO_ACCOUNT) as answers:
        member = _member(config, answers)
        for paid in _paid(source, found):
            request = first_request(paid.record, 0, member, prompting)
            reason = _unlike(paid, config.teacher, model or config.teacher.model)
            if reason := reason or _asked_otherwise(paid, request):
                found.left_out[reason] += 1
                continue
            stored = _stored(paid, request, member)
            if answers.find(stored.key) is not None:
                found.known += 1
            else:
                found.kept += 1
                answers.put([stored])
        answers.sync()
    if found.problems and not found.kept + found.known + found.left_out.total():
        raise source.shards.error(found.problems)
    found.left_out["cannot be read"] += len(found.problems)
    found.left_out += Counter()  # without zeros
    return found


def _member(config: Config, answers: AnswerStore) -> Member:
    """The job's teacher as it would be asked; nothing is sent."""
    budget = Budget(config.budget, answers.spend())
    asker = Asker(build_teacher(config.teacher), config.teacher, Durability(answers), budget)
    return Member(asker, config.teacher, Sampling.of(config.teacher, config.seed))


def _paid(source: Source, found: Imported) -> Iterator[_Paid]:
    """The rows that hold a request and an answer with a meaning."""
    read = source.format.exchange
    assert read is not None
    for line, row in source.rows():
        found.rows += 1
        if isinstance(row, BadRow):
            found.problems.append(row)
            continue
        try:
            exchange = read(row)
            identifier = default_id("import", line)
            record = to_record(exchange.row, task=source.task, default_id=identifier)
            yield _Paid(record, exchange, completion_of(exchange))
        except BadValue as bad:
            found.problems.append(BadRow(line, bad.field, bad.problem, bad.fix))
        except NO_MEANING as error:
            problem = f"is no answer that can be read ({type(error).__name__})"
            found.problems.append(BadRow(line, "answer", problem, "leave the row out"))


def _unlike(paid: _Paid, teacher: TeacherConfig, model: str) -> str:
    """Why the job would not have got this answer; "" if it might have."""
    exchange, completion = paid.exchange, paid.completion
    if model not in (exchange.model, completion.model):
        return f"the model is {exchange.model or completion.model!r}, not {model!r}"
    if not completion.text.strip() and not completion.tool_calls:
        return "the answer is empty"
    if completion.finish_reason != "stop":
        return f"the answer ended by {completion.finish_reason}"
    for name, usual in USUAL.items():
        drawn, asked = exchange.sampling.get(name, usual), getattr(teacher, name)
        if drawn != asked:
            return f"{name} was {drawn:g}, teacher.{name} is {asked:g}"
    return ""


def _asked_otherwise(paid: _Paid, request: Request) -> str:
    """Whether the job puts the question in a way that this answer does not fit."""
    completion, sampling = paid.completion, request.sampling
    if request.messages != paid.record.messages or request.schema is not None:
        return "the settings of generate put the question otherwise"
    if completion.usage.completion_tokens >= sampling.max_tokens:
        return f"the answer does not fit into teacher.max_tokens {sampling.max_tokens}"
    if sampling.top_logprobs and completion.logprobs is None:
        return "it has no log-probs, and teacher.top_logprobs asks for them"
    if any(stop in completion.text for stop in sampling.stop):
        return "it goes on behind a text of teacher.stop"
    return ""


def _stored(paid: _Paid, request: Request, member: Member) -> Stored:
    """The answer under the key by which the job looks for it, in its teacher's own dialect."""
    cost = member.asker.prices.actual(paid.completion.usage)
    anthropic = member.config.resolved_kind == "anthropic"
    if paid.exchange.wire == ("anthropic" if anthropic else "openai"):
        return Stored(request.key, cost, orjson.dumps(paid.exchange.answer))
    body = as_anthropic(paid.completion) if anthropic else as_openai(paid.completion)
    return Stored(request.key, cost, orjson.dumps(body))


def completion_of(exchange: Exchange) -> Completion:
    """What a provider's answer says. Raises ValueError, KeyError, TypeError or IndexError."""
    teacher = TeacherConfig(model=exchange.model)
    if exchange.wire == "openai":
        return OpenAIChat().parse(orjson.dumps(exchange.answer), teacher)
    if exchange.wire == "anthropic":
        return AnthropicMessages().parse(orjson.dumps(exchange.answer), teacher)
    usage = exchange.answer["usage"]
    as_anthropic = {
        "content": [_as_block(one) for one in exchange.answer["output"]["message"]["content"]],
        "stop_reason": exchange.answer.get("stopReason"),
        "usage": {"input_tokens": usage["inputTokens"], "output_tokens": usage["outputTokens"]},
    }
    return AnthropicMessages().parse(orjson.dumps(as_anthropic), teacher)


def _as_block(block: Json) -> Json:
    """A block of Converse as one of Anthropic's; of an unknown kind it says nothing."""
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    if use := block.get("toolUse"):
        named = {"id": use["toolUseId"], "name": use["name"], "input": use["input"]}
        return {"type": "tool_use", **named}
    if thought := block.get("reasoningContent"):
        return {"type": "thinking", "thinking": thought["reasoningText"]["text"]}
    return {"type": "unknown"}


def as_openai(completion: Completion) -> Json:
    """An answer that OpenAI's wire reads as this one."""
    usage = completion.usage
    message: Json = {"role": "assistant", "content": completion.text}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if completion.tool_calls:
        message["tool_calls"] = list(completion.tool_calls)
    return {
        "model": completion.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        },
    }


def as_anthropic(completion: Completion) -> Json:
    """An answer that Anthropic's wire reads as this one."""
    usage = completion.usage
    blocks: list[Json] = []
    if completion.reasoning:
        blocks.append({"type": "thinking", "thinking": completion.reasoning})
    if completion.text:
        blocks.append({"type": "text", "text": completion.text})
    for call in completion.tool_calls:
        named = {"id": call.get("id"), "name": call["function"]["name"]}
        blocks.append({"type": "tool_use", **named, "input": arguments_of(call)})
    return {
        "model": completion.model,
        "content": blocks,
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
        },
    }
