"""Rows for quantisers: of those that were learned, each with the same chance, as in training."""

import json
from collections import Counter
from pathlib import Path

import pytest

from mwalimu.data.tokenize import encode_example
from mwalimu.export.calibration import _drawn, calibration_rows
from tests.tiny import make_tiny_model, make_tokenizer


def chat(number: int, prompt: str = "ask") -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": f"a{number}"}]
    return {"id": str(number), "messages": messages}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student"))


def test_rows_are_encoded_as_in_training_and_a_prompt_too_long_is_left_out(
    student: Path, tmp_path: Path
) -> None:
    rows = [chat(0), chat(1, "x" * 40), chat(2)]
    file = write(tmp_path / "rows", rows)
    found = calibration_rows(student, file, wanted=9, max_length=16, seed=0)
    tokenizer = make_tokenizer()
    assert found == [
        encode_example(tokenizer, row["messages"], max_length=16).ids for row in (rows[0], rows[2])
    ]


def test_a_conversation_that_teaches_every_turn_is_taken_once_and_whole(
    student: Path, tmp_path: Path
) -> None:
    row = chat(0) | {"learn": "all"}
    row["messages"] = [*row["messages"], *chat(1)["messages"]]
    file = write(tmp_path / "rows", [row])
    (ids,) = calibration_rows(student, file, wanted=2, max_length=64, seed=0)
    assert ids == encode_example(make_tokenizer(), row["messages"], max_length=64).ids


def test_every_row_has_the_same_chance_and_the_order_is_the_files(tmp_path: Path) -> None:
    """10 rows, 4 wanted: each is drawn in 40 % of 2000 seeds, +- 4.5 standard deviations."""
    file = write(tmp_path / "rows", [chat(number) for number in range(10)])
    counts: Counter[int] = Counter()
    for seed in range(2000):
        numbers = [int(row["id"]) for row in _drawn(file, 4, seed)]
        assert numbers == sorted(set(numbers)) and len(numbers) == 4
        counts.update(numbers)
    assert all(abs(counts[number] - 800) < 4.5 * (2000 * 0.4 * 0.6) ** 0.5 for number in range(10))
    assert _drawn(file, 4, 7) == _drawn(file, 4, 7)
