"""A response as server-sent events, in the order in which OpenAI sends them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from mwalimu.data.record import Json
from mwalimu.serving.answering import Answering, Asked
from mwalimu.serving.chat_response import DONE, Envelope, LogProbs, event, message_of, usage_of
from mwalimu.serving.generation import Delta, Finished, Job


async def chunks(
    answering: Answering, asked: Asked, envelope: Envelope, log_probs: LogProbs
) -> AsyncIterator[bytes]:
    """The first one comes when there is something to send. Raises Refused.

    What is decided over the whole answer comes in one piece: tool calls, and with a cascade, whose
    answer it is.
    """
    if answering.cascade is not None or asked.tools:
        done, model = await answering.finished(asked)
        envelope = replace(envelope, model=model)
        for index, one in enumerate(done):
            for chunk in _in_one_piece(asked, envelope, log_probs, index, one):
                yield event(chunk)
    else:
        done = []
        openings = set(range(len(asked.jobs)))
        async for several in asked.pending:
            written = []
            for index, part in several:
                if index in openings:
                    openings.remove(index)
                    written.append(envelope.chunk(index, {"role": "assistant", "content": ""}))
                written += _pieces(asked, envelope, log_probs, index, part)
                if isinstance(part, Finished):
                    done.append(part)
            yield b"".join(map(event, written))
    options = asked.request.stream_options
    if options and options.include_usage:
        yield event(envelope.usage_chunk(usage_of(asked.prompt_tokens, done)))
    yield DONE


def _pieces(
    asked: Asked, envelope: Envelope, log_probs: LogProbs, index: int, part: Delta | Finished
) -> list[Json]:
    job = asked.jobs[index]
    if isinstance(part, Delta):
        content = {"content": part.text}
        return [envelope.chunk(index, content, logprobs=_spelled(asked, log_probs, job, part))]
    rest = {"content": part.rest} if part.rest else {}
    spelled = _spelled(asked, log_probs, job, part)
    found = [envelope.chunk(index, rest, logprobs=spelled)] if rest or spelled else []
    reason = part.completion.finish_reason
    return [*found, envelope.chunk(index, {}, finish_reason=reason)]


def _spelled(asked: Asked, log_probs: LogProbs, job: Job, part: Delta | Finished) -> Json | None:
    """Of the tokens that are now shown and were not yet: only once all their text is."""
    end = part.kept if isinstance(part, Finished) else part.tokens
    start = job.spelled
    if not asked.request.logprobs or end <= start:
        return None
    job.spelled = end
    tops = job.tops[start:end]
    return log_probs.content(job.answer[start:end], job.log_probs[start:end], tops)


def _in_one_piece(
    asked: Asked, envelope: Envelope, log_probs: LogProbs, index: int, done: Finished
) -> list[Json]:
    answer = done.completion
    message, reason = message_of(answer.text, answer.finish_reason, asked.tools)
    calls = [{"index": i} | call for i, call in enumerate(message.pop("tool_calls", ()))]
    delta = {**message, "content": message["content"]} | ({"tool_calls": calls} if calls else {})
    spelled = log_probs.of(done) if asked.request.logprobs else None
    return [
        envelope.chunk(index, delta, logprobs=spelled),
        envelope.chunk(index, {}, finish_reason=reason),
    ]
