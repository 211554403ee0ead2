"""What one tokenizer's chat template makes of a chat, found by trying it out.

Templates are programs, and do not say what they cannot do. Some refuse a system turn (Gemma 2),
some drop it without a word (the first Phi-3); some take white space off an answer (Llama, Gemma);
some write today's date (Llama 3.2), which would make the same row other tokens tomorrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jinja2 import TemplateError

from mwalimu.data.record import Json
from mwalimu.data.sandbox import bounded
from mwalimu.data.tool_rendering import Chat, ToolSupport, adapt, find_support

ANSWER = "mwalimu answer"
_SYSTEM = "mwalimu system"
_ASKED: Json = {"role": "user", "content": "?"}
_SPACES = " \n\t"

# Put before a template that asks for the date: 26 July 2024, Llama's own where it has no clock.
_DATE = {"%Y": "2024", "%m": "07", "%d": "26", "%B": "July", "%b": "Jul", "%A": "Friday"}
_FORMATTED = "".join(f" | replace('{code}', '{text}')" for code, text in _DATE.items())
_CLOCK = f"{{% macro strftime_now(form) %}}{{{{ form{_FORMATTED} }}}}{{% endmacro %}}{{{{ '' }}}}"


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """`tail` is what is written after an answer; `left` and `right` the white space that is taken
    off its ends; `system`: a system turn is written."""

    tools: ToolSupport
    system: bool
    left: str
    right: str
    tail: str

    def adapted(self, messages: Sequence[Json], tools: Sequence[Json]) -> tuple[Chat, list[Json]]:
        """The chat and the tools to hand to the template, which then loses nothing of them.

        A system turn that it would not write stands before the first user turn's text.
        """
        chat, known = adapt(messages, tools, self.tools)
        if not self.system and len(chat) > 1 and chat[0]["role"] == "system":
            system, first, *rest = chat
            chat = [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]
        return chat, known

    def trimmed(self, answer: str) -> str:
        """An answer as the template would write it."""
        return answer.lstrip(self.left).rstrip(self.right)


def try_out(tokenizer: Any) -> TemplateFacts:
    """Raises TemplateError where the template cannot write a plain question and answer."""
    write = partial(render, tokenizer, add_generation_prompt=False)
    head, _, tail = write([_ASKED, _answer(ANSWER)]).rpartition(ANSWER)
    left = right = ""
    for space in _SPACES:
        before, _, after = write([_ASKED, _answer(f"{space}{ANSWER}{space}")]).rpartition(ANSWER)
        left += space if before == head else ""
        right += space if after == tail else ""
    try:
        system = _SYSTEM in write([{"role": "system", "content": _SYSTEM}, _ASKED])
    except TemplateError:
        system = False
    return TemplateFacts(find_support(write), system, left, right, tail)


def template_of(tokenizer: Any) -> str:
    """Its chat template, before which the clock stands still if it asks for the date."""
    template: str = tokenizer.chat_template
    return _CLOCK + template if "strftime_now" in template else template


def render(
    tokenizer: Any, chat: Chat, tools: Sequence[Json] = (), *, add_generation_prompt: bool
) -> str:
    """The template's text. Raises TemplateError."""
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": add_generation_prompt}
    if tools:
        options["tools"] = list(tools)
    if (template := template_of(tokenizer)) != tokenizer.chat_template:
        options["chat_template"] = template
    try:
        with bounded():
            return str(tokenizer.apply_chat_template(chat, **options))
    except (TypeError, OverflowError, RecursionError, MemoryError) as error:
        # The template's own: it joins what cannot be joined, counts too far or calls itself.
        raise TemplateError(str(error)) from error


def _answer(text: str) -> Json:
    return {"role": "assistant", "content": text}
