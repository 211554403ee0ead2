"""How many tokens a chat has, by the best tokenizer that is on this machine. Asks no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Json, Message
from mwalimu.estimate.spans import ONE, Span

TURN_TOKENS = 4  # what a usual chat template writes around a message, where it cannot be rendered
BYTES_PER_TOKEN = Span(4.0, 3.0, 5.0)  # of UTF-8: English prose 4 to 5, code and other tongues 3
OTHER_TOKENIZER = Span(1.0, 0.8, 1.25)  # what one of another family makes of the same text

Chat = Sequence[Message]
Tools = Sequence[Json]


@dataclass(frozen=True, slots=True)
class Counter:
    """`chat` counts a whole prompt with what the template adds, `text` an answer.

    `factor`: the teacher's true count, in units of what is counted here; `basis` says why.
    """

    text: Callable[[str], int]
    chat: Callable[[Chat, Tools], int]
    basis: str
    factor: Span = ONE


def size_of(messages: Chat, tools: Tools = ()) -> int:
    """Bytes of UTF-8 of everything that somebody wrote."""
    size = sum(_bytes_of(_written(message)) for message in messages)
    return size + (len(orjson.dumps(list(tools))) if tools else 0)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def teacher_counter(teacher: TeacherConfig, student: str) -> Counter:
    """With the teacher's own tokenizer, else with the student's, else by the bytes."""
    folder = next(filter(None, map(find_tokenizer, _names(teacher))), None)
    if folder is not None:
        return _of_folder(folder, "the teacher's own tokenizer", ONE)
    folder = find_tokenizer(student)
    if folder is not None:
        basis = "the student's tokenizer, x0.8 to x1.25 for the teacher's is not on this machine"
        return _of_folder(folder, basis, OTHER_TOKENIZER)
    return _by_bytes()


def student_counter(student: str) -> Counter:
    folder = find_tokenizer(student)
    return _by_bytes() if folder is None else _of_folder(folder, "the student's tokenizer", ONE)


def find_tokenizer(model: str) -> Path | None:
    """The folder with the `tokenizer.json` of a model folder, or of a hub id in the local cache."""
    if (Path(model) / "tokenizer.json").is_file():
        return Path(model)
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, "tokenizer.json")
    except ValueError:  # not the form of a hub id
        return None
    return Path(found).parent if isinstance(found, str) else None


def _names(teacher: TeacherConfig) -> list[str]:
    """Where the registry knows the weights, the hub id of those too."""
    from mwalimu.registry import find

    known = find(teacher.model) or find(teacher.identity or "")
    return [teacher.model, *([known.weights] if known and known.weights else [])]


@lru_cache(maxsize=8)
def _of_folder(folder: Path, basis: str, factor: Span) -> Counter:
    template = _with_template(folder, basis, factor)
    return template or _without_template(folder, basis, factor) or _by_bytes()


def _with_template(folder: Path, basis: str, factor: Span) -> Counter | None:
    """Exactly as training and local teachers encode a chat; None where the folder lacks files."""
    from jinja2 import TemplateError

    from mwalimu.data.loading import CannotLoad, load_tokenizer
    from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
    from mwalimu.errors import StudentError

    try:
        tokenizer = load_tokenizer(str(folder))
        if not tokenizer.chat_template:
            return None
        prepare_tokenizer(tokenizer)
        tokenizer.model_max_length = 1 << 30  # a long prompt is counted, not warned about
    except (CannotLoad, StudentError):
        return None

    def text(written: str) -> int:
        return len(tokenizer.encode(written, add_special_tokens=False))

    def chat(messages: Chat, tools: Tools) -> int:
        try:
            return len(encode_prompt(tokenizer, messages, tools))
        except TemplateError:  # the run will refuse this row; here it counts like the others
            return _plain_chat(text, messages, tools)

    return Counter(text, chat, f"{basis} and chat template", factor)


def _without_template(folder: Path, basis: str, factor: Span) -> Counter | None:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # what a damaged file raises has no class of its own
        return None

    def text(written: str) -> int:
        return len(tokenizer.encode(written, add_special_tokens=False).ids)

    return _plain(text, basis, factor)


def _by_bytes() -> Counter:
    few, likely, many = BYTES_PER_TOKEN.low, BYTES_PER_TOKEN.mid, BYTES_PER_TOKEN.high

    def text(written: str) -> int:
        return -(-len(written.encode("utf-8", "replace")) // int(likely))

    basis = f"{likely:.0f} bytes a token ({few:.0f} to {many:.0f}), for no tokenizer is here"
    return _plain(text, basis, Span(1.0, likely / many, likely / few))


def _plain(text: Callable[[str], int], basis: str, factor: Span) -> Counter:
    return Counter(
        text,
        lambda messages, tools: _plain_chat(text, messages, tools),
        f"{basis}, and {TURN_TOKENS} tokens around a message",
        factor,
    )


def _plain_chat(text: Callable[[str], int], messages: Chat, tools: Tools) -> int:
    """The beginning of the answer's turn counts like a message."""
    written = sum(text(_written(message)) for message in messages)
    described = text(orjson.dumps(list(tools)).decode()) if tools else 0
    return written + described + TURN_TOKENS * (len(messages) + 1)


def _written(message: Message) -> str:
    if not message.tool_calls:
        return message.content
    return message.content + orjson.dumps(list(message.tool_calls)).decode()
