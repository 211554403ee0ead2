"""Which token a text names, where a server reports texts in place of ids: exactly, or not at all.

Servers write a token as what it adds to a text, as what it is alone (which drops the space that
some tokenizers begin a word with), or, where they are asked to, as `token_id:123`. A text that more
than one token may be written as, such as the sign for a part of a character, names none of them.
"""

from __future__ import annotations

import re
from typing import Any

from mwalimu.data.token_scores import TokenTexts

SEVERAL = -1
_BY_NUMBER = re.compile(r"token_id:(\d+)")


class TokenIds:
    """Of the first `vocabulary` ids of `tokenizer`. Reads all of them once."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self._ids: dict[str, int] = {}
        texts = TokenTexts(tokenizer)
        for token in sorted(tokenizer.get_vocab().values()):
            if token >= vocabulary:
                break
            alone = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
            for text in {texts[token], alone}:
                known = self._ids.setdefault(text, token)
                if known != token:
                    self._ids[text] = SEVERAL

    def __getitem__(self, text: str) -> int | None:
        """None where no token, or more than one, is written so."""
        if numbered := _BY_NUMBER.fullmatch(text):
            token = int(numbered[1])
            return token if token < self.vocabulary else None
        token = self._ids.get(text, SEVERAL)
        return None if token == SEVERAL else token
