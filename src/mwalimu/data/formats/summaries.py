"""Texts and their summaries: CNN/DailyMail, XSum, DialogSum, SAMSum.

{"article", "highlights"}   CNN/DailyMail        {"document", "summary"}   XSum
{"dialogue", "summary"}     DialogSum, SAMSum; DialogSum's test rows have `summary1` to `summary3`
"""

from __future__ import annotations

from mwalimu.data.chat import text_value
from mwalimu.data.formats.base import Format
from mwalimu.data.record import Json

KINDS = {
    "article": ("highlights", "Summarise the article in three or four short sentences."),
    "document": ("summary", "Summarise the article in one sentence."),
    "dialogue": ("summary", "Summarise the dialogue in one to three sentences, with the speakers."),
}
IDS = ("id", "fname")


def _detects(row: Json) -> bool:
    return any(
        text in row and (gold in row or f"{gold}1" in row) for text, (gold, _) in KINDS.items()
    )


def _read(row: Json) -> Json:
    """Of several summaries the first counts. Raises BadValue."""
    field = next((field for field in KINDS if field in row), "article")
    gold, system = KINDS[field]
    native: Json = {
        "task": "summarization",
        "system": system,
        "prompt": text_value(row.get(field), field),
    }
    gold = gold if gold in row else f"{gold}1"
    if row.get(gold):
        native["completion"] = text_value(row[gold], gold)
    if row.get("topic"):
        native["metadata"] = {"topic": row["topic"]}
    identifier = next((row[name] for name in IDS if row.get(name)), None)
    return native if identifier is None else native | {"id": identifier}


SUMMARIES = Format(
    "summaries", "CNN/DailyMail, XSum, DialogSum, SAMSum", detects=_detects, read=_read
)
