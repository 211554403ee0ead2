"""The only place where chat becomes token ids, so that training and generation cannot disagree.

Two guarantees. What a user or a teacher wrote is text: a content that spells `<|im_end|>` is
learned and asked as those characters, never as the control token. And the end-of-turn token is a
target exactly once, told by its position: a tokenizer whose pad token equals it loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from mwalimu.data.record import Message
from mwalimu.errors import NoTargetTokens, StudentError

Chat = Sequence[Message | Mapping[str, str]]

FALLBACK_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For tokenizers without a chat template: ChatML whose turns end with the tokenizer's own EOS."""

# Private-use characters stand for text that spells a control token while the template is rendered.
_MARK_OPEN, _MARK_CLOSE = "\ue0fe", "\ue0ff"
_MARK = re.compile(f"{_MARK_OPEN}(\\d+){_MARK_CLOSE}")
_ANSWER = "mwalimu answer"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One training row; `labels_mask[i]` tells that token i is learned (answer or end of turn)."""

    ids: list[int]
    labels_mask: list[bool]
    row_id: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Control:
    """What is fixed for a tokenizer: its control ids, their spelling, the end of a turn."""

    template: str
    ids: frozenset[int]
    pattern: re.Pattern[str] | None
    end_of_turn: int


_CONTROL: WeakKeyDictionary[Any, _Control] = WeakKeyDictionary()


def prepare_tokenizer(tokenizer: Any) -> None:
    """Gives `tokenizer` what training needs: an EOS, a pad token, a chat template."""
    if tokenizer.eos_token_id is None:
        raise StudentError(
            "the tokenizer has no end-of-sequence token, so answers would never end",
            where=str(tokenizer.name_or_path),
            fix="set eos_token in its tokenizer_config.json",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        tokenizer.chat_template = FALLBACK_TEMPLATE
    tokenizer.padding_side = "right"


def encode_example(tokenizer: Any, messages: Chat, *, max_length: int, row_id: str = "") -> Encoded:
    """Prompt, answer and end of turn; the last message is the answer.

    A row over `max_length` loses the tail of its answer, the end of turn first: a cut answer
    must not teach the student to stop there.

    Raises:
        NoTargetTokens: the prompt alone fills `max_length`.
    """
    prompt = encode_prompt(tokenizer, messages[:-1])
    answer = _encode_text(tokenizer, _plain(messages[-1:])[0]["content"])
    ids = [*prompt, *answer, end_of_turn_id(tokenizer)]
    if len(prompt) >= max_length:
        raise NoTargetTokens(
            f"the prompt has {len(prompt)} tokens and leaves no room for an answer",
            where=f"row {row_id}" if row_id else "",
            fix=f"raise student.max_length (now {max_length}) or drop the row",
        )
    mask = [False] * len(prompt) + [True] * (len(ids) - len(prompt))
    return Encoded(ids[:max_length], mask[:max_length], row_id, len(ids) > max_length)


def encode_prompt(tokenizer: Any, messages: Chat) -> list[int]:
    """The ids after which the assistant speaks: the same in training and in generation."""
    control = _control(tokenizer)
    spelled: list[str] = []

    def mark(match: re.Match[str]) -> str:
        spelled.append(match.group())
        return f"{_MARK_OPEN}{len(spelled) - 1}{_MARK_CLOSE}"

    chat = _plain(messages)
    if control.pattern is not None:
        for message in chat:
            message["content"] = control.pattern.sub(mark, message["content"])
    text = _render(tokenizer, chat, add_generation_prompt=True)
    if not spelled:
        return _encode_template(tokenizer, text)
    return _encode_marked(tokenizer, text, spelled)


def end_of_turn_id(tokenizer: Any) -> int:
    """The token that ends an assistant's turn in the chat template; often not `eos_token`."""
    return _control(tokenizer).end_of_turn


def _plain(messages: Chat) -> list[dict[str, str]]:
    return [m.to_json() if isinstance(m, Message) else dict(m) for m in messages]


def _render(tokenizer: Any, chat: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    """The template's text; a system turn joins the first user turn where the template has none."""
    options = {"tokenize": False, "add_generation_prompt": add_generation_prompt}
    try:
        return str(tokenizer.apply_chat_template(chat, **options))
    except TemplateError:
        if len(chat) < 2 or chat[0]["role"] != "system":
            raise
    joined = f"{chat[0]['content']}\n\n{chat[1]['content']}"
    folded = [{**chat[1], "content": joined}, *chat[2:]]
    return str(tokenizer.apply_chat_template(folded, **options))


def _encode_template(tokenizer: Any, text: str) -> list[int]:
    """Ids of text in which control tokens are meant."""
    return list(tokenizer.encode(text, add_special_tokens=False)) if text else []


def _encode_marked(tokenizer: Any, text: str, spelled: list[str]) -> list[int]:
    ids: list[int] = []
    for index, piece in enumerate(_MARK.split(text)):
        if index % 2:
            ids += _encode_text(tokenizer, spelled[int(piece)])
        else:
            ids += _encode_template(tokenizer, piece)
    return ids


def _encode_text(tokenizer: Any, text: str) -> list[int]:
    """Ids of what somebody wrote, without a control id among them.

    Some vocabularies reach a control id by plain merges even with special tokens off; such text
    is encoded a character at a time.
    """
    control = _control(tokenizer).ids
    options = {"add_special_tokens": False, "split_special_tokens": True}
    ids = list(tokenizer.encode(text, **options)) if text else []
    if control.isdisjoint(ids):
        return ids
    spelled_out = (i for character in text for i in tokenizer.encode(character, **options))
    return [i for i in spelled_out if i not in control]


def _control(tokenizer: Any) -> _Control:
    known = _CONTROL.get(tokenizer)
    if known is None or known.template != tokenizer.chat_template:
        known = _CONTROL[tokenizer] = _find_control(tokenizer)
    return known


def _find_control(tokenizer: Any) -> _Control:
    special = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    special |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    special.pop(tokenizer.unk_token_id, None)
    spellings = sorted((s for s in special.values() if s), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, spellings))) if spellings else None
    turn = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
    tail = _render(tokenizer, turn, add_generation_prompt=False).rpartition(_ANSWER)[2]
    ends = [i for i in _encode_template(tokenizer, tail) if i in special]
    end_of_turn = ends[0] if ends else tokenizer.eos_token_id
    return _Control(tokenizer.chat_template, frozenset(special), pattern, end_of_turn)
