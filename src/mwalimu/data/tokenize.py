"""The only place where chat becomes token ids, so that training and generation cannot disagree.

Two guarantees. What a user or a teacher wrote is text: a content, a tool or a call that spells
`<|im_end|>` is learned and asked as those characters, never as the control token. And the
end-of-turn token is a target exactly once, told by its position: a tokenizer whose pad token equals
it loses nothing.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jinja2 import TemplateError

from mwalimu.data.record import Json, Message
from mwalimu.data.template import ANSWER, TemplateFacts, render, try_out
from mwalimu.errors import NoTargetTokens, StudentError

Chat = Sequence[Message | Mapping[str, Any]]

FALLBACK_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For tokenizers without a chat template: ChatML whose turns end with the tokenizer's own EOS."""

# Private-use characters stand for text that spells a control token while the template is rendered.
# A template that prints a value as Python or as ASCII JSON spells them with a backslash.
_MARK_OPEN, _MARK_CLOSE = "\ue0fe", "\ue0ff"
_MARK = re.compile(r"(?:\ue0fe|\\ue0fe)(\d+)(?:\ue0ff|\\ue0ff)")
_FORGED = r"\ue0fe|\ue0ff|\\ue0f[ef]"  # written by a user, these are text too


@dataclass(frozen=True, slots=True)
class Encoded:
    """One training row: its tokens, and a byte each, 1 where it is learned (answer, end of turn).

    A training holds all its rows, so a token takes 5 bytes here, not the 44 of Python's own lists.
    `key` names the conversation. `target_crc`, of all the learned ids before any truncation, tells
    whether a teacher's signals for that key are about these very tokens.
    """

    tokens: array[int]
    learned: bytes
    row_id: str = ""
    truncated: bool = False
    key: bytes = b""
    target_crc: int = 0

    @classmethod
    def of(cls, ids: Iterable[int], labels_mask: Iterable[int], *rest: Any, **more: Any) -> Encoded:
        return cls(array("i", ids), bytes(labels_mask), *rest, **more)

    def with_answer(self, prompt: Sequence[int], answer: Sequence[int], **more: Any) -> Encoded:
        """The same row, of other tokens: all of `answer` are learned."""
        learned = bytes(len(prompt)) + b"\1" * len(answer)
        return replace(self, tokens=array("i", [*prompt, *answer]), learned=learned, **more)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def ids(self) -> list[int]:
        return self.tokens.tolist()

    @property
    def labels_mask(self) -> list[bool]:
        return [one == 1 for one in self.learned]

    @property
    def prompt(self) -> list[int]:
        """All before the answer, which is all that is learned."""
        return self.tokens[: len(self) - self.targets].tolist()

    @property
    def answer(self) -> list[int]:
        return self.tokens[len(self) - self.targets :].tolist()

    @property
    def targets(self) -> int:
        """Learned tokens; nothing stands before a first token that could predict it."""
        return self.learned.count(1, 1)


@dataclass(frozen=True, slots=True)
class Control:
    """What is fixed for a tokenizer: its control ids, their spellings (longest first), the end of
    a turn."""

    template: Any
    ids: frozenset[int]
    spellings: tuple[str, ...]
    pattern: re.Pattern[str]
    end_of_turn: int
    facts: TemplateFacts


_CONTROL: WeakKeyDictionary[Any, Control] = WeakKeyDictionary()


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


def encode_example(
    tokenizer: Any,
    messages: Chat,
    tools: Sequence[Json] = (),
    *,
    max_length: int,
    row_id: str = "",
    key: bytes = b"",
) -> Encoded:
    """Prompt, answer and end of turn; the last message is the answer, which may call tools.

    A row over `max_length` loses the tail of its answer, the end of turn first: a cut answer
    must not teach the student to stop there.

    Raises:
        NoTargetTokens: the prompt alone fills `max_length`.
        TemplateError: the chat template refuses the row.
    """
    chat, known = _adapted(tokenizer, messages, tools)
    prompt = _encode_chat(tokenizer, chat[:-1], known)
    ids = [*prompt, *_encode_answer(tokenizer, chat, known)]
    if len(prompt) >= max_length:
        raise NoTargetTokens(
            f"the prompt has {len(prompt)} tokens and leaves no room for an answer",
            where=f"row {row_id}" if row_id else "",
            fix=f"raise student.max_length (now {max_length}) or drop the row",
        )
    learned = bytes(len(prompt)) + b"\1" * (len(ids) - len(prompt))
    cut = len(ids) > max_length
    crc = crc_of(ids[len(prompt) :])
    return Encoded(array("i", ids[:max_length]), learned[:max_length], row_id, cut, key, crc)


def crc_of(ids: Sequence[int]) -> int:
    """CRC-32 of the ids as little-endian 32-bit integers."""
    return zlib.crc32(np.asarray(ids, dtype="<i4").tobytes())


def encode_prompt(tokenizer: Any, messages: Chat, tools: Sequence[Json] = ()) -> list[int]:
    """The ids after which the assistant speaks: the same in training and in generation.

    What the chat template cannot render of `tools`, calls and results is in the text all the
    same; see `tool_rendering`. Raises TemplateError where the template refuses the chat.
    """
    return _encode_chat(tokenizer, *_adapted(tokenizer, messages, tools))


def control_of(tokenizer: Any) -> Control:
    """What its chat template makes control tokens of, found once and kept."""
    known = _CONTROL.get(tokenizer)
    if known is None or known.template != tokenizer.chat_template:
        known = _CONTROL[tokenizer] = _find_control(tokenizer)
    return known


def end_of_turn_id(tokenizer: Any) -> int:
    """The token that ends an assistant's turn in the chat template; often not `eos_token`."""
    return control_of(tokenizer).end_of_turn


def ending_ids(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer in use: a base model ends with EOS, not with a turn's end."""
    known = getattr(generation_config, "eos_token_id", None)
    listed = known if isinstance(known, list) else [] if known is None else [known]
    return frozenset([*listed, end_of_turn_id(tokenizer), tokenizer.eos_token_id])


def _adapted(
    tokenizer: Any, messages: Chat, tools: Sequence[Json]
) -> tuple[list[Json], list[Json]]:
    plain = [m.to_json() if isinstance(m, Message) else dict(m) for m in messages]
    return control_of(tokenizer).facts.adapted(plain, tools)


def _encode_chat(tokenizer: Any, chat: list[Json], tools: list[Json]) -> list[int]:
    marks = _Marks(control_of(tokenizer).pattern)
    text = render(tokenizer, marks.put(chat), marks.put(tools), add_generation_prompt=True)
    return _encode_marked(tokenizer, text, marks.spelled)


def _encode_answer(tokenizer: Any, chat: list[Json], tools: list[Json]) -> list[int]:
    """The last message, as the template writes it, and its end of turn.

    A call is what the template writes for it: the chat with it, less the chat up to it. What
    follows the first end of turn is left out, since generation ends there.
    """
    end = end_of_turn_id(tokenizer)
    if not chat[-1].get("tool_calls"):
        answer = control_of(tokenizer).facts.trimmed(chat[-1]["content"])
        return [*_encode_text(tokenizer, answer), end]
    marks = _Marks(control_of(tokenizer).pattern)
    chat, tools = marks.put(chat), marks.put(tools)
    text = render(tokenizer, chat, tools, add_generation_prompt=False)
    stand_in = [*chat[:-1], {"role": "assistant", "content": ANSWER}]
    spoken = render(tokenizer, stand_in, tools, add_generation_prompt=False)
    # The first is where a plain answer would begin; some templates begin a call before its space.
    starts = (
        spoken.rpartition(ANSWER)[0],
        render(tokenizer, chat[:-1], tools, add_generation_prompt=True),
    )
    start = next((start for start in starts if text.startswith(start)), None)
    if start is None:
        raise TemplateError("a call does not stand where an answer would")
    ids = _encode_marked(tokenizer, text[len(start) :], marks.spelled)
    return [*ids[: ids.index(end)], end] if end in ids else [*ids, end]


class _Marks:
    """Puts marks in place of what spells a control token; mark i stands for `spelled[i]`."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self.spelled: list[str] = []

    def put(self, value: Any) -> Any:
        """A copy of `value` with all its texts marked, keys too."""
        if isinstance(value, str):
            return self.pattern.sub(self._mark, value)
        if isinstance(value, dict):
            return {self.put(key): self.put(item) for key, item in value.items()}
        return [self.put(item) for item in value] if isinstance(value, list | tuple) else value

    def _mark(self, match: re.Match[str]) -> str:
        self.spelled.append(match.group())
        return f"{_MARK_OPEN}{len(self.spelled) - 1}{_MARK_CLOSE}"


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
    control = control_of(tokenizer).ids
    options = {"add_special_tokens": False, "split_special_tokens": True}
    ids = list(tokenizer.encode(text, **options)) if text else []
    if control.isdisjoint(ids):
        return ids
    spelled_out = (i for character in text for i in tokenizer.encode(character, **options))
    return [i for i in spelled_out if i not in control]


def _find_control(tokenizer: Any) -> Control:
    facts = try_out(tokenizer)
    added = tokenizer.added_tokens_decoder
    special = {i: str(token) for i, token in added.items() if token.special}
    special |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    tail = _encode_template(tokenizer, facts.tail)
    # Where the end of a turn is an added token like any other, it is control all the same.
    ends = [i for i in tail if i in special] or [i for i in tail if i in added]
    end_of_turn = ends[0] if ends else tokenizer.eos_token_id
    special.setdefault(end_of_turn, str(added.get(end_of_turn, "")))
    spellings = sorted((s for s in special.values() if s), key=len, reverse=True)
    pattern = re.compile("|".join([*map(re.escape, spellings), _FORGED]))
    meant = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, end_of_turn}
    ids = frozenset(i for i in special if i != tokenizer.unk_token_id or i in meant)
    return Control(tokenizer.chat_template, ids, tuple(spellings), pattern, end_of_turn, facts)
