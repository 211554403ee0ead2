"""Amazon Bedrock: `bedrock-conversation-2024` files and the logs of model invocations.

Both hold text in blocks, `[{"text": ...}]`, and the system turn beside the messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mwalimu.data.chat import BadValue
from mwalimu.data.formats.base import (
    Exchange,
    Format,
    Written,
    list_of,
    not_held,
    object_of,
    system_and_rest,
    text_of,
)
from mwalimu.data.formats.provider_bodies import (
    answer_row,
    anthropic_request,
    joined_stream,
    sampling_of,
)
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Json, Record

SCHEMA = "bedrock-conversation-2024"
MAX_ROWS = 15_000


def read_blocks(row: Json) -> Json:
    """`system` and `messages` of text blocks as ours. Raises BadValue."""
    turns = []
    for index, item in enumerate(list_of(row.get("messages"), "messages")):
        message = object_of(item, f"messages[{index}]")
        content = text_of(message.get("content"), f"messages[{index}].content")
        turns.append({"role": message.get("role"), "content": content})
    native: Json = {"messages": turns}
    if row.get("system"):
        native["system"] = text_of(row["system"], "system")
    return native


def _read(row: Json) -> Json:
    if row.get("schemaVersion") != SCHEMA:
        found = row.get("schemaVersion")
        raise BadValue("schemaVersion", f"is {found!r}", f"write {SCHEMA!r}")
    return read_blocks(row)


def _write(record: Record) -> Written:
    if not_held(record, "calls"):
        return Written(None, ("calls",))
    system, turns = system_and_rest(record)
    row: Json = {"schemaVersion": SCHEMA}
    if system:
        row["system"] = [{"text": system}]
    row["messages"] = [{"role": role, "content": [{"text": text}]} for role, text in turns]
    return Written(row, not_held(record, "id", "task", "metadata", "tools"))


def _rules(rows: Iterable[tuple[int, Json]], task: str) -> Iterator[BadRow]:
    count = 0
    for line, row in rows:
        count += 1
        messages = row.get("messages")
        if isinstance(messages, list) and len(messages) > 2:
            yield from _only_nova(line, len(messages))
    if count > MAX_ROWS:
        yield BadRow(0, "", f"has {count} rows, Bedrock takes {MAX_ROWS}", "split the file")


def _only_nova(line: int, count: int) -> Iterator[BadRow]:
    problem = f"has {count} messages, and only Nova models take more than one exchange"
    yield BadRow(line, "messages", problem, "keep one user turn and its answer")


def _is_log(row: Json) -> bool:
    return row.get("schemaType") == "ModelInvocationLog" or (
        "modelId" in row and "input" in row and "output" in row
    )


def _exchange(row: Json) -> Exchange:
    """Of Converse, or of InvokeModel with Anthropic's body, streamed or not. Raises BadValue."""
    asked = _body(row, "input", "inputBodyJson")
    said = _body(row, "output", "outputBodyJson")
    model = str(row.get("modelId") or "")
    if "anthropic_version" in asked:
        request = anthropic_request(asked, "input.inputBodyJson")
        return Exchange(_with_id(request, row), model, said, "anthropic", sampling_of(asked))
    if "messages" not in asked or not isinstance(said.get("output"), dict):
        problem = f"is no text conversation (operation {row.get('operation')!r})"
        raise BadValue("input.inputBodyJson", problem, "leave the row out")
    settings = asked.get("inferenceConfig")
    request = read_blocks(asked)
    sampling = sampling_of(settings if isinstance(settings, dict) else {})
    return Exchange(_with_id(request, row), model, said, "converse", sampling)


def _body(row: Json, side: str, name: str) -> Json:
    holder: Any = row.get(side)
    body = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(body, list):
        return joined_stream(body)
    if not isinstance(body, dict):
        problem = "is not in the log: large bodies lie in a file of their own"
        raise BadValue(f"{side}.{name}", problem, "put that body in its place, or drop the row")
    return body


def _with_id(request: Json, row: Json) -> Json:
    return request | ({"id": row["requestId"]} if row.get("requestId") else {})


BEDROCK = Format(
    "bedrock",
    f"Bedrock {SCHEMA}",
    detects=lambda row: "schemaVersion" in row,
    read=_read,
    write=_write,
    rules=_rules,
)
BEDROCK_LOG = Format(
    "bedrock-log",
    "Bedrock model invocation log",
    detects=_is_log,
    read=lambda row: answer_row(_exchange(row)),
    exchange=_exchange,
)
