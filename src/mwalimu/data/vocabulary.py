"""Whether two tokenizers mean the same by their ids: proved id for id, never by size.

Models of one family differ in padding (Qwen2.5 embeds 151,936 rows in its small models, 152,064 in
its large ones): rows without a token, which no comparison of tokenizers sees and no text uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 40


@dataclass(frozen=True, slots=True)
class Comparison:
    """`same`: the first `common` ids mean the same to both, and the texts tried got equal ids.

    `reason` says what differs, in a clause.
    """

    same: bool
    common: int
    reason: str = ""


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest id that means something."""
    return int(max(tokenizer.get_vocab().values())) + 1


def vocabulary_fingerprint(tokenizer: Any, size: int | None = None) -> str:
    """SHA-256 over the tokens of the ids below `size`, all by default."""
    size = vocabulary_size(tokenizer) if size is None else size
    tokens = sorted((i, t) for t, i in tokenizer.get_vocab().items() if i < size)
    return hashlib.sha256(json.dumps(tokens, ensure_ascii=True).encode()).hexdigest()


def compare(teacher: Any, student: Any, texts: Sequence[str] = ()) -> Comparison:
    """Token by token, then on `texts`: one vocabulary can be cut into in two ways."""
    ours, theirs = _by_id(teacher), _by_id(student)
    common = min(max(ours), max(theirs)) + 1
    for index in range(common):
        if ours.get(index) != theirs.get(index):
            found = f"{ours.get(index)!r} to the teacher, {theirs.get(index)!r} to the student"
            return Comparison(False, 0, f"id {index} is {found}")
    if common < max(max(ours), max(theirs)) + 1:
        longer, rest = ("teacher", ours) if max(ours) >= common else ("student", theirs)
        if any(_is_word(token) for index, token in rest.items() if index >= common):
            return Comparison(False, 0, f"the {longer} has words beyond id {common - 1}")
    for text in texts:
        if _ids(teacher, text) != _ids(student, text):
            return Comparison(False, 0, f"they split {text[:SHOWN]!r} in different ways")
    return Comparison(True, common)


def _by_id(tokenizer: Any) -> dict[int, str]:
    return {index: token for token, index in tokenizer.get_vocab().items()}


def _is_word(token: str) -> bool:
    """Control tokens, <|like_this|>, that one of the two has in addition do not touch any text."""
    return not (token.startswith(("<", "[")) and token.endswith((">", "]")))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
