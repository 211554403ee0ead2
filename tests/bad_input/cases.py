"""Bad configs out of the config's own schema, and bad rows by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mwalimu.config import Config

NESTED = {"type": ["object", "of", {"another": "kind"}]}


def config_cases() -> Iterator[tuple[str, Any, str]]:
    """(key, a value that it cannot have, what the line has to name), for every key of the schema.

    A misspelt neighbour of every section's first key too.
    """
    schema = Config.model_json_schema()
    yield from _of(schema, schema["$defs"], "")


def _of(section: Mapping[str, Any], defs: Mapping[str, Any], prefix: str) -> Iterator[Any]:
    names = list(section.get("properties", {}))
    if names:
        yield f"{prefix}{names[0]}z", 1, f"{prefix}{names[0]}z"
    for name in names:
        field = section["properties"][name]
        key = f"{prefix}{name}"
        takes_any = any(
            option.get("type") == "object" for option in (field, *field.get("anyOf", ()))
        )
        yield key, [[1]] if takes_any else NESTED, name
        for option in (field, *field.get("anyOf", ())):
            if "$ref" in option:
                yield from _of(defs[option["$ref"].rpartition("/")[2]], defs, f"{key}.")
            elif bad := list(_beyond(option)):
                yield key, bad[0], key


def _beyond(option: Mapping[str, Any]) -> Iterator[Any]:
    """Values just outside of a bound, or outside of a choice."""
    if "minimum" in option:
        yield option["minimum"] - 1
    if "exclusiveMinimum" in option:
        yield option["exclusiveMinimum"]
    if "enum" in option:
        yield "no-such-choice"


def _chat(*roles: str) -> bytes:
    return json.dumps({"messages": [{"role": role, "content": "a"} for role in roles]}).encode()


ROWS: dict[str, bytes] = {
    "nothing": b"",
    "blank lines": b"\n\n  \n",
    "no JSON": b"prompt: a\n",
    "cut": b'{"prompt": "a"',
    "two rows in a line": b'{"prompt": "a"} {"prompt": "b"}',
    "a list": b'["a"]',
    "a number": b"7",
    "a text": b'"a"',
    "null": b"null",
    "no known key": b'{"question": "a"}',
    "no key at all": b"{}",
    "an empty prompt": b'{"prompt": ""}',
    "a prompt of blanks": b'{"prompt": " \\t\\n"}',
    "a prompt that is a number": b'{"prompt": 7}',
    "a prompt that is null": b'{"prompt": null}',
    "a prompt that is a list": b'{"prompt": ["a"]}',
    "no UTF-8": b'{"prompt": "\xff"}',
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "an empty id": b'{"id": "", "prompt": "a"}',
    "an id that is a list": b'{"id": [], "prompt": "a"}',
    "an id twice": b'{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}',
    "messages that are a text": b'{"messages": "a"}',
    "no message": b'{"messages": []}',
    "a message that is a text": b'{"messages": ["a"]}',
    "a message without a role": b'{"messages": [{"content": "a"}]}',
    "an unknown role": b'{"messages": [{"role": "bot", "content": "a"}]}',
    "a message without content": b'{"messages": [{"role": "user"}]}',
    "content that is a number": b'{"messages": [{"role": "user", "content": 3}]}',
    "empty content": b'{"messages": [{"role": "user", "content": ""}]}',
    "an answer first": b'{"messages": [{"role": "assistant", "content": "a"}]}',
    "two questions": _chat("user", "user"),
    "a system turn alone": b'{"messages": [{"role": "system", "content": "a"}]}',
    "a system turn late": _chat("user", "assistant", "system"),
    "tools that are a text": b'{"prompt": "a", "tools": "weather"}',
    "the second line": b'{"prompt": "a"}\n{"prompt": ""}',
}
"""Each is refused with the file and the line, but for files that have none."""


def written(key: str, value: Any) -> str:
    """A config with that key, as JSON, which is YAML."""
    config: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "prompts.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "student"},
    }
    node, *path = config, *key.split(".")
    for name in path[:-1]:
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    node[path[-1]] = value
    return json.dumps(config)
