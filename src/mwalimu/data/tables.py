"""Parquet and Arrow files as rows, a slice at a time, however large their batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mwalimu.errors import DataError

SLICE = 1024  # rows that are Python objects at the same time
_FILE_MAGIC = b"ARROW1"  # of Arrow's file form (Feather 2); its stream form has none
_READ = 1 << 20  # bytes of a Parquet column that are read ahead

Row = dict[str, Any]


def read_parquet(path: Path) -> Iterator[Row]:
    """Raises DataError where it is no Parquet file."""
    import pyarrow.parquet as parquet

    with (
        _readable("Parquet", path),
        parquet.ParquetFile(path, pre_buffer=False, buffer_size=_READ) as file,
    ):
        yield from _rows(file.iter_batches(SLICE))


def read_arrow(path: Path) -> Iterator[Row]:
    """Of either form. It is mapped: its pages are the system's to drop. Raises DataError."""
    import pyarrow

    with _readable("Arrow", path), pyarrow.memory_map(str(path)) as source:
        is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        source.seek(0)
        if is_file:
            with pyarrow.ipc.open_file(source) as file:
                yield from _rows(map(file.get_batch, range(file.num_record_batches)))
        else:
            with pyarrow.ipc.open_stream(source) as stream:
                yield from _rows(stream)


@contextmanager
def _readable(kind: str, path: Path) -> Iterator[None]:
    import pyarrow.lib

    try:
        yield
    except (pyarrow.lib.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"is not a readable {kind} file ({first})", where=str(path)) from None


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    for batch in batches:
        for start in range(0, len(batch), SLICE):
            for row in batch.slice(start, SLICE).to_pylist():
                yield _without_nulls(row)


def _without_nulls(row: Row) -> Row:
    """A table gives every message and every tool the fields of all others, as nulls."""
    given = {key: value for key, value in row.items() if value is not None}
    for key in given.keys() & {"messages", "tools", "conversations"}:
        given[key] = _pruned(_as_list(given[key]))
    return given


def _as_list(value: Any) -> Any:
    """`datasets` stores a Sequence of objects as one object of lists."""
    if not isinstance(value, dict) or not all(isinstance(one, list) for one in value.values()):
        return value
    if len({len(one) for one in value.values()}) != 1:
        return value
    return [dict(zip(value, turn, strict=True)) for turn in zip(*value.values(), strict=True)]


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    return [_pruned(item) for item in value] if isinstance(value, list) else value
