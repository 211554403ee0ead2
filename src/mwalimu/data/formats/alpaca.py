"""Alpaca: `{"instruction", "input", "output"}`, with `system` and `history` where they are used."""

from __future__ import annotations

from mwalimu.data.chat import BadValue, text_value
from mwalimu.data.formats.base import Format, Written, not_held, system_and_rest
from mwalimu.data.record import Json, Record


def _read(row: Json) -> Json:
    """The input follows the instruction on a line of its own. Raises BadValue."""
    turns = _history(row.get("history") or [])
    asked = text_value(row.get("instruction"), "instruction")
    if row.get("input"):
        asked = f"{asked}\n{text_value(row['input'], 'input')}"
    turns.append({"role": "user", "content": asked})
    if row.get("output"):
        said = text_value(row["output"], "output")
        turns.append({"role": "assistant", "content": said})
    native: Json = {"messages": turns}
    if row.get("system"):
        native["system"] = text_value(row["system"], "system")
    return native | {key: row[key] for key in ("id", "task", "metadata") if key in row}


def _history(value: object) -> list[Json]:
    if not isinstance(value, list):
        raise BadValue("history", f"is {type(value).__name__}, not a list", "write [[asked, said]]")
    turns: list[Json] = []
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadValue(f"history[{index}]", "is no pair", "write [asked, said]")
        for place, role in enumerate(("user", "assistant")):
            said = text_value(pair[place], f"history[{index}][{place}]")
            turns.append({"role": role, "content": said})
    return turns


def _write(record: Record) -> Written:
    if not_held(record, "calls"):
        return Written(None, ("calls",))
    system, turns = system_and_rest(record)
    texts = [text for _, text in turns]
    said = texts.pop() if record.reference is not None else ""
    row: Json = {"instruction": texts.pop(), "input": "", "output": said}
    if system:
        row["system"] = system
    if texts:
        row["history"] = [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    return Written(row, not_held(record, "id", "task", "metadata", "tools"))


ALPACA = Format(
    "alpaca", "Alpaca", detects=lambda row: "instruction" in row, read=_read, write=_write
)
