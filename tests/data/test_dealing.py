"""Any number of workers has the rows of one, in its order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwalimu.data.dataset import open_dataset
from mwalimu.data.dealing import dealt, together
from tests.data.test_shards import part


@given(rows=st.lists(st.integers(), max_size=50), workers=st.integers(1, 9))
def test_what_is_dealt_is_put_together_in_order(rows: list[int], workers: int) -> None:
    parts = [list(dealt(rows, worker, workers)) for worker in range(workers)]
    assert together(parts) == rows
    counts = [len(one) for one in parts]
    assert max(counts) - min(counts) <= 1


@given(rows=st.integers(1, 60), few=st.integers(1, 8), many=st.integers(1, 8))
def test_a_row_goes_where_its_number_says(rows: int, few: int, many: int) -> None:
    """Dealt twice, it is with the worker of both numbers: nobody needs to know the others."""
    for worker in range(few):
        for inner in range(many):
            twice = list(dealt(dealt(range(rows), worker, few), inner, many))
            assert twice == list(dealt(range(rows), worker + few * inner, few * many))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_workers_that_read_a_set_of_files_have_its_rows_once(tmp_path: Path, workers: int) -> None:
    for number in range(5):
        part(tmp_path, f"part-{number}.jsonl", *(f"{number}.{row}" for row in range(number)))
    whole = list(open_dataset(tmp_path, task="qa", split="train"))
    parts = [
        list(dealt(open_dataset(tmp_path, task="qa", split="train"), worker, workers))
        for worker in range(workers)
    ]
    assert together(parts) == whole and len(whole) == 10
