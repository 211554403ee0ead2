"""Examples of a row, and keys that name a conversation whatever reads it."""

import hashlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.data.examples import KEY_BYTES, Example, examples_of

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CHAT = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "sure?"},
    {"role": "assistant", "content": "yes"},
]


def key_of(chat: Any, tools: Any = ()) -> bytes:
    return Example(chat, tools, "r").key


def test_a_row_is_one_example_that_ends_with_its_answer() -> None:
    for row in ({"messages": CHAT, "id": 7}, {"messages": CHAT, "id": 7, "learn": "last"}):
        (example,) = examples_of(row)
        assert (example.chat, list(example.tools), example.row_id) == (CHAT, [], "7")


def test_learn_all_gives_each_answer_the_conversation_up_to_it() -> None:
    row = {"id": "r", "messages": CHAT, "tools": [TOOL], "learn": "all"}
    found = list(examples_of(row))
    assert [example.chat for example in found] == [CHAT[:3], CHAT]
    assert all(example.tools == [TOOL] and example.row_id == "r" for example in found)
    # The last turn is the same example, learned alone or with the others.
    assert found[-1].key == next(examples_of(row | {"learn": "last"})).key


def test_a_key_is_what_its_definition_says() -> None:
    canonical = json.dumps(
        {"chat": CHAT, "tools": [TOOL]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    expected = hashlib.blake2b(canonical.encode(), digest_size=16).digest()
    assert key_of(CHAT, [TOOL]) == expected and len(expected) == KEY_BYTES


def test_a_key_does_not_depend_on_order_of_fields_row_or_process() -> None:
    turned = [dict(reversed(message.items())) for message in CHAT]
    assert key_of(turned) == key_of(CHAT) == key_of(tuple(CHAT))
    row_ids = [Example(CHAT, (), row_id).key for row_id in ("a", "b")]
    assert row_ids[0] == row_ids[1]
    program = (
        "import json, sys\nfrom mwalimu.data.examples import Example\n"
        "print(Example(json.loads(sys.argv[1]), (), 'other').key.hex())"
    )
    command = [sys.executable, "-c", program, json.dumps(turned)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == key_of(CHAT).hex()


@pytest.mark.parametrize(
    "change",
    [
        lambda chat: chat[:-1],
        lambda chat: [*chat[:-1], {"role": "assistant", "content": "yes "}],
        lambda chat: [*chat[:-1], {"role": "user", "content": "yes"}],
        lambda chat: [chat[1], chat[0], *chat[2:]],
    ],
)
def test_another_conversation_has_another_key(change: Any) -> None:
    assert key_of(change(CHAT)) != key_of(CHAT)
    assert key_of(CHAT, [TOOL]) != key_of(CHAT)


texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(texts, values, max_size=2), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_json_has_a_key_lone_surrogates_and_huge_integers_too(chat: list[Any]) -> None:
    key = key_of(chat)
    assert len(key) == KEY_BYTES
    assert key_of(json.loads(json.dumps(chat))) == key
    assert key_of([*chat, {"content": "more"}]) != key
