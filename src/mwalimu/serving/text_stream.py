"""The text of an answer while it is written, token by token.

What was shown is never taken back, and all that was shown, joined, is what `read_ids` makes of the
whole answer. So held back are: a character whose bytes are not all there, white space that may turn
out to be the end, and what may become a stop string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_PART = "\ufffd"  # how a tokenizer decodes a part of a character


class TextStream:
    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._longest = max(map(len, stop), default=0)
        self._ids: list[int] = []
        self._context = 0  # the decoder is given tokens from here on: some say little alone
        self._known = 0  # up to here they are in `_text`
        self._text = ""
        self._end = 0  # of what may be shown
        self._shown = ""

    def push(self, token: int) -> str:
        """Takes the next token; what is new to show."""
        self._ids.append(token)
        before = self._decode(self._context, self._known)
        after = self._decode(self._context, len(self._ids))
        if after.endswith(_PART) or not after.startswith(before):
            return ""
        if len(after) > len(before):
            self._context = self._known
        self._known = len(self._ids)
        self._text += after[len(before) :]
        self._find_stop(len(after) - len(before))
        return self._show(self._text[: self._end].strip())

    def finish(self, text: str) -> str:
        """The rest to show of the whole answer's `text`."""
        return self._show(text)

    @property
    def holds_back(self) -> bool:
        """Whether some of the tokens taken are not shown, or not all of them."""
        return self._known < len(self._ids) or len(self._shown) < len(self._text.lstrip())

    def _find_stop(self, added: int) -> None:
        """Sets `_end`: before the first stop string, or before what may become one."""
        start = max(0, len(self._text) - added - self._longest + 1)
        places = [place for s in self._stop if (place := self._text.find(s, start)) >= 0]
        if places:
            self.stopped = True
            self._end = min(places)
            return
        self._end = len(self._text)
        for length in range(min(self._longest - 1, len(self._text)), 0, -1):
            if any(s.startswith(self._text[-length:]) for s in self._stop):
                self._end -= length
                return

    def _show(self, text: str) -> str:
        if not text.startswith(self._shown):
            return ""
        new = text[len(self._shown) :]
        self._shown = text
        return new

    def _decode(self, start: int, end: int) -> str:
        return str(self._tokenizer.decode(self._ids[start:end], skip_special_tokens=True))
