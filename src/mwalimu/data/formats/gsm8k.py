"""GSM8K: `{"question", "answer"}`, the answer's last line `#### <number>`."""

from __future__ import annotations

import re

from mwalimu.data.chat import BadValue, text_value
from mwalimu.data.formats.base import Format
from mwalimu.data.record import Json

SYSTEM = "Solve the problem step by step. End with a line '#### ' and the number."
MARK = "####"
_CALCULATOR = re.compile(r"<<[^<>]*>>")  # notes to a calculator, which no reader needs


def _read(row: Json) -> Json:
    """The steps stay, without the calculator's notes. Raises BadValue."""
    native: Json = {
        "task": "math",
        "system": SYSTEM,
        "prompt": text_value(row.get("question"), "question"),
    }
    if row.get("answer") is not None:
        answer = text_value(row["answer"], "answer")
        if MARK not in answer:
            raise BadValue("answer", f"has no {MARK}", f"end it with '{MARK} ' and the number")
        native["completion"] = _CALCULATOR.sub("", answer)
    return native | {key: row[key] for key in ("id", "metadata") if key in row}


GSM8K = Format(
    "gsm8k",
    "GSM8K",
    detects=lambda row: "question" in row and MARK in str(row.get("answer")),
    read=_read,
)
