"""`speech.json`: what the page must know to turn chat into ids exactly as training did."""

from __future__ import annotations

from typing import Any

from mwalimu.data.record import Json
from mwalimu.data.template import template_of
from mwalimu.data.tokenize import control_of, encode_prompt

_TEXTS = (
    "Where is my order 10342?",
    "  two  spaces,\ta tab\nand a line\n\n",
    "Grüße, naïve café, 東京 and 🙂👩‍👩‍👧",
    "x = {'a': [1, 2.5]}  # 100% <b>bold</b> & \"quoted\"",
    "\ue0fe0\ue0ff \\ue0fe1\\ue0ff",
    "",
)


def speech(tokenizer: Any) -> Json:
    """The template, what is control in it, and probes: chats with the ids that Python makes of
    them, and the text that it makes of these ids. The page makes them again before it speaks."""
    control = control_of(tokenizer)
    special = tokenizer.special_tokens_map
    return {
        "template": template_of(tokenizer),
        "special": {name: str(one) for name, one in special.items() if isinstance(one, str)},
        "control": {"ids": sorted(control.ids), "spellings": list(control.spellings)},
        "system": control.facts.system,
        "clean_up": bool(tokenizer.clean_up_tokenization_spaces),
        "probes": [_probe(tokenizer, chat) for chat in _chats(control.spellings)],
    }


def _chats(spellings: tuple[str, ...]) -> list[list[Json]]:
    """One turn of every kind of text, one that spells every control token, and four turns."""
    forged = f"before {' '.join(spellings)} {''.join(spellings)} after"
    turns = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": forged},
        {"role": "assistant", "content": f"No. {spellings[0] if spellings else ''}"},
        {"role": "user", "content": _TEXTS[2]},
    ]
    return [*([{"role": "user", "content": text}] for text in (*_TEXTS, forged)), turns]


def _probe(tokenizer: Any, messages: list[Json]) -> Json:
    ids = encode_prompt(tokenizer, messages)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return {"messages": messages, "ids": ids, "text": text}
