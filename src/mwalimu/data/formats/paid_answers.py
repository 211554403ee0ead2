"""Answers that were paid for elsewhere: results of batches, and logs of requests with responses."""

from __future__ import annotations

from mwalimu.data.chat import BadValue
from mwalimu.data.formats.base import Exchange, Format, object_of
from mwalimu.data.formats.chat_rows import read_messages
from mwalimu.data.formats.provider_bodies import answer_row, anthropic_request, sampling_of
from mwalimu.data.record import Json

REQUEST = "request"
"""Where a row that was joined has the line of the other file."""


def _asked(row: Json, field: str) -> Json:
    """The body of the request that belongs to a line of results."""
    if REQUEST not in row:
        raise BadValue(
            "custom_id", "is an answer without its question", "name the input file with --requests"
        )
    if row[REQUEST] is None:
        raise BadValue("custom_id", f"{row.get('custom_id')!r} is not in --requests", "mend either")
    return object_of(object_of(row[REQUEST], REQUEST).get(field), f"{REQUEST}.{field}")


def _openai_batch(row: Json) -> Exchange:
    asked = _asked(row, "body")
    response = row.get("response")
    if not isinstance(response, dict) or response.get("status_code") != 200:
        raise BadValue("response", f"is no answer ({_why(row)})", "ask it again, or drop the row")
    answer = object_of(response.get("body"), "response.body")
    return _openai_exchange(asked, answer, row.get("custom_id"))


def _why(row: Json) -> str:
    error = row.get("error")
    if isinstance(error, dict):
        return str(error.get("message") or error.get("code"))
    response = row.get("response")
    return f"status {response.get('status_code')}" if isinstance(response, dict) else "none came"


def _openai_exchange(asked: Json, answer: Json, identifier: object) -> Exchange:
    request = read_messages(asked) | ({"id": identifier} if identifier else {})
    model = str(asked.get("model") or answer.get("model") or "")
    return Exchange(request, model, answer, "openai", sampling_of(asked))


def _anthropic_batch(row: Json) -> Exchange:
    asked = _asked(row, "params")
    result = object_of(row.get("result"), "result")
    if result.get("type") != "succeeded":
        problem = f"is no answer ({result.get('type')})"
        raise BadValue("result", problem, "ask it again, or drop the row")
    answer = object_of(result.get("message"), "result.message")
    request = anthropic_request(asked, f"{REQUEST}.params") | {"id": str(row.get("custom_id"))}
    model = str(asked.get("model") or "")
    return Exchange(request, model, answer, "anthropic", sampling_of(asked))


def _log(row: Json) -> Exchange:
    """A request beside its response; some gateways write a body within each."""
    asked, answer = _inner(row, "request"), _inner(row, "response")
    status = object_of(row["response"], "response").get("status_code")
    if isinstance(status, int) and status != 200:
        raise BadValue("response", f"is no answer (status {status})", "leave the row out")
    identifier = row.get("id") or answer.get("id")
    if "choices" in answer:
        return _openai_exchange(asked, answer, identifier)
    if isinstance(answer.get("content"), list):
        request = anthropic_request(asked, "request") | ({"id": identifier} if identifier else {})
        model = str(asked.get("model") or answer.get("model") or "")
        return Exchange(request, model, answer, "anthropic", sampling_of(asked))
    raise BadValue("response", "has neither 'choices' nor 'content'", "leave the row out")


def _inner(row: Json, name: str) -> Json:
    outer = object_of(row.get(name), name)
    body = outer.get("body")
    return body if isinstance(body, dict) else outer


OPENAI_BATCH = Format(
    "openai-batch",
    "OpenAI batch output",
    detects=lambda row: "custom_id" in row and "response" in row,
    read=lambda row: answer_row(_openai_batch(row)),
    exchange=_openai_batch,
    joined_by="custom_id",
)
ANTHROPIC_BATCH = Format(
    "anthropic-batch",
    "Anthropic batch results",
    detects=lambda row: "custom_id" in row and "result" in row,
    read=lambda row: answer_row(_anthropic_batch(row)),
    exchange=_anthropic_batch,
    joined_by="custom_id",
)
REQUEST_LOG = Format(
    "log",
    "request and response log",
    detects=lambda row: "request" in row and "response" in row and "custom_id" not in row,
    read=lambda row: answer_row(_log(row)),
    exchange=_log,
)
