"""Rows to training examples: tools come along, and a row may teach all its turns."""

from dataclasses import replace
from typing import Any

import pytest

from mwalimu.data.tokenize import encode_example, prepare_tokenizer
from mwalimu.errors import DataError, NoTargetTokens
from mwalimu.finetune.rows import check_rows, encode_splits
from tests.finetune.jobs import chat
from tests.tiny import make_tokenizer

CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "2"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "sure?"},
    {"role": "assistant", "content": "yes"},
]


@pytest.fixture
def tokenizer() -> Any:
    made = make_tokenizer()
    prepare_tokenizer(made)
    return made


def test_a_row_teaches_its_last_turn_unless_it_says_all(tokenizer: Any) -> None:
    row = {"id": "r", "messages": TURNS, "tools": [TOOL]}
    rows = [row, row | {"learn": "last"}, row | {"learn": "all"}]
    check_rows(rows, [])
    encoded = encode_splits(tokenizer, rows, [], 1000)[0]
    expected = [
        encode_example(tokenizer, TURNS[:end], [TOOL], max_length=1000, row_id="r")
        for end in (7, 7, 3, 5, 7)
    ]
    assert [replace(row, key=b"") for row in encoded] == expected
    keys = [row.key for row in encoded]
    assert keys[0] == keys[1] == keys[4] and len(set(keys)) == 3
    assert all('"name":"add"' in tokenizer.decode(row.ids) for row in encoded)


def test_splits_stay_apart_however_many_examples_a_row_gives(tokenizer: Any) -> None:
    whole = {"id": "w", "messages": TURNS, "learn": "all"}
    rows, validation = [whole, chat("a", "1", "2")], [chat("b", "3", "4")]
    train, held_out = encode_splits(tokenizer, rows, validation, 1000)
    assert [row.row_id for row in train] == ["w", "w", "w", "a"]
    assert held_out == encode_splits(tokenizer, validation, [], 1000)[0]
    with pytest.raises(NoTargetTokens, match=r"the prompts of 2 rows leave no room.*: w, v"):
        encode_splits(tokenizer, rows, [*validation, whole | {"id": "v"}], 20)


def test_an_unknown_learn_is_told_by_its_rows() -> None:
    rows = [chat("a", "1", "2"), chat("b", "1", "2") | {"learn": "some"}]
    with pytest.raises(DataError, match="1 rows have an unknown 'learn': b"):
        check_rows(rows, [])
    with pytest.raises(DataError, match="1 rows have an unknown 'learn': b"):
        check_rows(rows[:1], rows[1:])


def test_a_row_with_one_turn_too_long_is_named_once(tokenizer: Any) -> None:
    long = {"id": "long", "messages": TURNS, "learn": "all"}
    with pytest.raises(NoTargetTokens, match=r"the prompts of 1 rows leave no room.*: long"):
        encode_splits(tokenizer, [chat("a", "1", "2"), long], [], 20)[0]


def test_a_row_that_the_template_refuses_is_named() -> None:
    template = "{{ raise_exception('no tools here') if messages | length > 2 }}{{ eos_token }}"
    tokenizer = make_tokenizer(template + "mwalimu answer{{ eos_token }}")
    prepare_tokenizer(tokenizer)
    with pytest.raises(DataError, match=r"row r: the chat template refuses the row \(no tools"):
        encode_splits(tokenizer, [{"id": "r", "messages": TURNS}], [], 1000)[0]
