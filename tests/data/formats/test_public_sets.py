"""Rows of public sets as their authors and the hub publish them. All texts here are invented."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu import api
from mwalimu.data.dataset import load_records
from mwalimu.data.formats import BY_NAME, detect
from mwalimu.data.grading import grade
from mwalimu.data.readers import BadRow, read_file
from mwalimu.data.record import Record
from mwalimu.data.shards import Shards
from mwalimu.errors import DataError

# (row, what is in the question, the answer, id)
ROWS: dict[str, list[tuple[dict[str, Any], str, str | None, str]]] = {
    "nli": [
        ({"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}, "It rains.",
         "entailment", "rows-000001"),
        ({"premise": "It rains.", "hypothesis": "I sing.", "label": -1}, "I sing.", None,
         "rows-000001"),
        ({"sentence1": "It rains.", "sentence2": "It is dry.", "gold_label": "contradiction",
          "pairID": "7#1"}, "It is dry.", "contradiction", "7#1"),
        ({"sentence1": "It rains.", "sentence2": "We go.", "gold_label": "-", "pairID": "8"},
         "We go.", None, "8"),
        ({"uid": "a1", "context": "It rains.", "hypothesis": "It pours.", "label": "n"},
         "It pours.", "neutral", "a1"),
    ],
    "squad": [
        ({"id": "q1", "title": "Oryx", "context": "The oryx lives in dry land.",
          "question": "Where does it live?", "answers": {"text": ["dry land"],
          "answer_start": [18]}}, "dry land", "dry land", "q1"),
        ({"id": "q2", "context": "The oryx is tall.", "question": "How old is it?",
          "answers": {"text": [], "answer_start": []}}, "How old", "unanswerable", "q2"),
        ({"id": "q3", "context": "The oryx is tall.", "question": "How old is it?",
          "answers": [{"text": "tall", "answer_start": 12}], "is_impossible": True}, "How old",
         "unanswerable", "q3"),
        ({"id": "q4", "context": "The oryx is tall.", "question": "How is it?"}, "How is", None,
         "q4"),
    ],
    "gsm8k": [
        ({"question": "Two and three?", "answer": "2+3=<<2+3=5>>5\n#### 5"}, "Two and",
         "2+3=5\n#### 5", "rows-000001"),
    ],
    "summaries": [
        ({"id": "c1", "article": "Rain fell for days.", "highlights": "It rained."},
         "Rain fell", "It rained.", "c1"),
        ({"id": 12, "document": "Rain fell for days.", "summary": "It rained."}, "Rain fell",
         "It rained.", "12"),
        ({"fname": "d1", "dialogue": "#A#: Rain?\n#B#: Yes.", "summary": "They speak of rain.",
          "topic": "weather"}, "#B#: Yes.", "They speak of rain.", "d1"),
        ({"fname": "d2", "dialogue": "#A#: Rain?", "summary1": "A asks.", "summary2": "Rain."},
         "#A#: Rain?", "A asks.", "d2"),
    ],
}  # fmt: skip
TASKS = {"nli": "nli", "squad": "qa", "gsm8k": "math", "summaries": "summarization"}


def one_row(folder: Path, row: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ROWS)
def test_it_is_known_by_its_rows_and_read_with_its_task(name: str, tmp_path: Path) -> None:
    for row, asked, answer, identifier in ROWS[name]:
        path = one_row(tmp_path, row)
        assert detect(Shards(path)) is BY_NAME[name]
        (record,) = load_records(path, task="generic", split="rows")
        assert (record.id, record.task) == (identifier, TASKS[name])
        assert [turn.role for turn in record.messages] == ["system", "user"]
        assert asked in record.messages[-1].content
        assert record.reference == answer
        assert answer is None or grade(record.task, answer, answer) == 1


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"premise": "a", "hypothesis": "b", "label": 3}, "label"),
        ({"sentence1": "", "sentence2": "b", "gold_label": "neutral"}, "sentence1"),
        ({"context": "a", "question": "", "answers": {"text": []}}, "question"),
        ({"context": "a", "question": "b", "answers": {"text": "c"}}, "answers"),
        ({"context": "a", "question": "b", "answers": [{"answer_start": 1}]}, "answers[0]"),
        ({"article": "", "highlights": "b"}, "article"),
    ],
)
def test_a_row_that_means_nothing_is_told_with_its_own_field(
    row: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {field.replace('[', chr(92) + '[')}: "):
        load_records(one_row(tmp_path, row), task="generic", split="rows")


def test_a_sum_without_its_mark_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"question": "1+1?", "answer": "#### 2"}, {"question": "1+2?", "answer": "3"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: answer: has no ####"):
        load_records(path, task="generic", split="rows")


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Oryx",
            "paragraphs": [
                {
                    "context": "The oryx lives in dry land.",
                    "qas": [
                        {"id": "1", "question": "Where?", "answers": [{"text": "dry land"}]},
                        {"id": "2", "question": "When?", "answers": [], "is_impossible": True},
                    ],
                },
                {
                    "context": "It eats grass.",
                    "qas": [{"id": "3", "question": "What?", "answers": [{"text": "grass"}]}],
                },
            ],
        }
    ],
}


@pytest.mark.parametrize("indent", [None, 1])
def test_squads_own_document_is_a_row_a_question(indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "train-v2.0.json"
    path.write_text(json.dumps(SQUAD, indent=indent), encoding="utf-8")
    records = load_records(path, task="generic", split="train")
    assert [(one.id, one.reference) for one in records] == [
        ("1", "dry land"),
        ("2", "unanswerable"),
        ("3", "grass"),
    ]
    assert records[0].metadata == {"title": "Oryx"}
    assert "It eats grass." in records[2].messages[-1].content


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_is_a_document_and_lines_are_not(indent: int | None, tmp_path: Path) -> None:
    rows = [{"conversations": [{"from": "human", "value": text}]} for text in ("Hello?", "So?")]
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    as_list = load_records(path, task="conversation", split="chat")
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    as_lines = load_records(path, task="conversation", split="chat")
    assert as_list == as_lines
    assert [one.messages[-1].content for one in as_list] == ["Hello?", "So?"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"prompt": "a"}, 3]', "is a JSON int"),
        ('[{"prompt": "a"}', "is no document of rows"),
        ('{"data": 3}', "neither a list of rows"),
        ('{\n"rows": []\n}', "neither a list of rows"),
        ("nothing\n", "invalid JSON"),
    ],
)
def test_a_broken_document_is_one_line(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    bad = [row for _, row in read_file(path) if isinstance(row, BadRow)]
    assert len(bad) == 1 and problem in bad[0].problem


def test_a_converted_set_is_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(SQUAD), encoding="utf-8")
    done = api.convert_data(path, tmp_path / "rows.jsonl", to="mwalimu")
    assert (done.rows, done.left_out, done.lost) == (3, 0, {})
    read: list[Record] = load_records(tmp_path / "rows.jsonl", task="generic", split="rows")
    assert read == load_records(path, task="generic", split="dev")
