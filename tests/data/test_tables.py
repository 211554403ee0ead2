"""Parquet and Arrow files, large batches among them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mwalimu.data.readers import read_file
from mwalimu.data.tables import SLICE
from mwalimu.errors import DataError

ROWS = [{"prompt": f"p{i}", "n": i} for i in range(2 * SLICE + 3)]


def arrow(path: Path, *, form: str) -> Path:
    """All rows are one batch."""
    table = pa.Table.from_pylist(ROWS)
    writer = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, writer(sink, table.schema) as out:
        out.write_table(table)
    return path


@pytest.mark.parametrize("form", ["file", "stream"])
def test_both_forms_of_arrow_are_read_in_order(tmp_path: Path, form: str) -> None:
    found = list(read_file(arrow(tmp_path / "rows.arrow", form=form)))
    assert found == list(enumerate(ROWS, 1))


def test_parquet_is_read_in_order_whatever_its_groups(tmp_path: Path) -> None:
    for size in (7, 10_000):
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "r.parquet", row_group_size=size)
        assert list(read_file(tmp_path / "r.parquet")) == list(enumerate(ROWS, 1))


@pytest.mark.parametrize(("suffix", "kind"), [("arrow", "Arrow"), ("parquet", "Parquet")])
@pytest.mark.parametrize("content", [b"", b"ARROW1 no", b"PAR1 no"])
def test_what_is_no_table_is_one_error(
    tmp_path: Path, suffix: str, kind: str, content: bytes
) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.{suffix}: is not a readable {kind} file"):
        list(read_file(tmp_path / f"x.{suffix}"))


def test_a_table_that_was_cut_is_told_where_it_ends(tmp_path: Path) -> None:
    whole = arrow(tmp_path / "whole.arrow", form="stream").read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.arrow: is not a readable Arrow file"):
        list(read_file(tmp_path / "cut.arrow"))
