"""A job's rows by key, in the tokens of either model."""

from typing import Any

import pytest

from mwalimu.data.tokenize import Encoded, encode_example, prepare_tokenizer
from mwalimu.finetune.rows import encode_splits
from mwalimu.finetune.teacher import rows as rows_module
from mwalimu.finetune.teacher.rows import JobRows, answer_of
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.finetune.jobs import chat
from tests.tiny import CHAT_TEMPLATE, make_tokenizer

TURNS = [
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "sure?"},
    {"role": "assistant", "content": "yes, two"},
]
ROWS: list[dict[str, Any]] = [
    {"id": "w", "messages": TURNS, "learn": "all"},
    chat("a", "where", "the cat sat"),
    chat("b", "who", "naïve café 🙂"),
]


@pytest.fixture
def tokenizer() -> Any:
    made = make_tokenizer()
    prepare_tokenizer(made)
    return made


def test_each_encoded_row_finds_its_conversation(tokenizer: Any) -> None:
    job = JobRows.of(tokenizer, ROWS)
    encoded = encode_splits(tokenizer, ROWS, [], 100)[0]
    answers = [answer_of(job.examples[row.key]) for row in encoded]
    assert answers == ["two", "yes, two", "the cat sat", "naïve café 🙂"]


def test_byte_lengths_are_found_once_and_none_where_unproved(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = JobRows.of(tokenizer, ROWS)
    encoded = encode_splits(tokenizer, ROWS, [], 100)[0]
    assert job.byte_lengths(encoded[0]) == [1, 1, 1, 0]
    assert job.byte_lengths(encoded[3]) is None  # the tiny vocabulary has no such letters
    monkeypatch.setattr(rows_module, "byte_lengths", None)
    assert job.byte_lengths(encoded[0]) == [1, 1, 1, 0] and job.byte_lengths(encoded[3]) is None


def test_a_row_cut_short_has_the_lengths_of_what_is_left(tokenizer: Any) -> None:
    job = JobRows.of(tokenizer, ROWS)
    whole = encode_splits(tokenizer, ROWS[1:2], [], 100)[0][0]
    cut = encode_splits(tokenizer, ROWS[1:2], [], len(whole.ids) - 4)[0][0]
    assert cut.truncated and job.byte_lengths(cut) == [1] * (whole.targets - 4)


def test_another_model_reads_the_same_conversations() -> None:
    other = tokenizer_of("byte level")
    prepare_tokenizer(other)
    job = JobRows.of(make_tokenizer(), ROWS)
    found = job.encoded_by(other, 1000)
    assert found.keys() == job.examples.keys()
    for key, row in found.items():
        assert isinstance(row, Encoded) and row.key == key
        expected = encode_example(other, job.examples[key].chat, max_length=1000)
        assert row.ids == expected.ids


def test_what_it_cannot_hold_or_its_template_refuses_is_left_out() -> None:
    strict = "{{ raise_exception('no') if messages[0]['content'] == 'who' }}" + CHAT_TEMPLATE
    other = make_tokenizer(strict)
    job = JobRows.of(make_tokenizer(), ROWS)
    found = job.encoded_by(other, 19)
    assert {answer_of(job.examples[key]) for key in found} == {"two"}  # the others are longer
    assert len(job.encoded_by(other, 1000)) == 3
