"""SQuAD 1.1 and 2.0: `{"context", "question", "answers"}`, a row a question.

The hub has `"answers": {"text": [...], "answer_start": [...]}`; the authors' files have
`[{"text", "answer_start"}]` within articles, which `data/documents` takes apart.
"""

from __future__ import annotations

from typing import Any

from mwalimu.data.chat import BadValue, text_value
from mwalimu.data.formats.base import Format
from mwalimu.data.record import Json

UNANSWERABLE = "unanswerable"
SYSTEM = (
    "Answer the question with the shortest span of the context that answers it, copied exactly, "
    f"and nothing else. If the context does not answer it, say: {UNANSWERABLE}"
)


def _read(row: Json) -> Json:
    """Of several gold answers the first is the answer. Raises BadValue."""
    context = text_value(row.get("context"), "context")
    question = text_value(row.get("question"), "question").strip()
    native: Json = {
        "task": "qa",
        "system": SYSTEM,
        "prompt": f"Context: {context}\nQuestion: {question}",
    }
    if row.get("is_impossible") is True:
        native["completion"] = UNANSWERABLE
    elif row.get("answers") is not None:
        texts = _texts(row["answers"])
        native["completion"] = texts[0] if texts else UNANSWERABLE
    if row.get("title"):
        native["metadata"] = {"title": row["title"]}
    return native | ({"id": row["id"]} if row.get("id") else {})


def _texts(answers: Any) -> list[str]:
    """Of either form. Raises BadValue."""
    items = answers.get("text") if isinstance(answers, dict) else answers
    if not isinstance(items, list):
        raise BadValue("answers", "is no list of answers", 'write {"text": [...]}')
    texts = [item.get("text") if isinstance(item, dict) else item for item in items]
    return [text_value(text, f"answers[{index}]") for index, text in enumerate(texts)]


SQUAD = Format(
    "squad",
    "SQuAD 1.1 and 2.0",
    detects=lambda row: {"context", "question"} <= row.keys(),
    read=_read,
)
