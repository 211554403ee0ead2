"""Processes that share the rows out have what one has: the same examples, the same complaints."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwalimu.data.tokenize import Encoded, prepare_tokenizer
from mwalimu.finetune import rows as sharing
from mwalimu.finetune.rows import encode_splits
from tests.finetune.jobs import chat, sums
from tests.finetune.parallel.ranks import on_ranks
from tests.finetune.parallel.work import encode_rows
from tests.tiny import make_tokenizer

SEVERAL = {"id": "all", "learn": "all", "messages": [*chat("", "1", "2")["messages"]] * 3}
LONG = chat("long", "1" * 90, "2")
ROWS, VALIDATION = [SEVERAL, *sums(9), SEVERAL | {"id": "again"}], sums(1, seed=1)
TEMPLATE = "{{ raise_exception('no') if messages[0]['content'] == '1' }}mwalimu answer"


@given(mask=st.lists(st.booleans(), max_size=12), truncated=st.booleans())
def test_an_example_is_told_whole(mask: list[bool], truncated: bool) -> None:
    one = Encoded.of([7] * len(mask), mask, "a \ud800 b", truncated, b"\x00\xff", 2**32 - 1)
    assert sharing._heard(sharing._told(one)) == one


@pytest.mark.parametrize("size", [2, 3])
def test_each_process_has_all_rows_in_order(size: int) -> None:
    tokenizer = make_tokenizer()
    prepare_tokenizer(tokenizer)
    expected = encode_splits(tokenizer, ROWS, VALIDATION, 64)
    jobs: list[Any] = [
        (None, ROWS, VALIDATION),
        (None, [*ROWS, LONG, LONG | {"id": "too"}], VALIDATION),
        (TEMPLATE, ROWS, [chat("refused", "1", "2")]),
    ]
    for own in on_ranks(size, encode_rows, jobs):
        assert own[0][0] == expected
        # Each process encodes its share alone, and of a split with one row one process does.
        assert own[0][1] <= -(-len(ROWS) // size) + 1
        assert own[1] == (
            "NoTargetTokens",
            "finetune: the prompts of 2 rows leave no room for an answer: long, too; "
            "raise student.max_length (now 64) or drop the rows",
        )
        assert own[2][0] == "DataError" and "the chat template refuses the row (no)" in own[2][1]
