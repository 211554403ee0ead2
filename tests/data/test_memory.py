"""Ten times the rows take no more memory. `benchmarks/scale/rows.py` has millions of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mwalimu.data.formats.checking import check
from mwalimu.data.formats.source import open_source
from mwalimu.data.inspecting import inspect_rows
from mwalimu.data.shards import Shards
from tests.command import processes

FEW, MANY = 20_000, 200_000
BATCH = 50_000  # of a table: many times what is read at once
ROOM = 96 << 20
"""Bytes: recent keys and the filter of `FirstSeen`. The many rows themselves would take 250 MB."""


def row(number: int) -> dict[str, str]:
    return {"id": f"row-{number}", "prompt": f"{number} " * 30, "completion": "yes"}


def batches(rows: int) -> Iterator[Any]:
    for start in range(0, rows, BATCH):
        numbers = range(start, min(rows, start + BATCH))
        yield pa.RecordBatch.from_pylist([row(number) for number in numbers])


def write(path: Path, rows: int) -> Path:
    if path.suffix == ".jsonl":
        line = '{{"id": "row-{0}", "prompt": "{1}", "completion": "yes"}}\n'
        with path.open("w", encoding="utf-8") as handle:
            handle.writelines(line.format(n, f"{n} " * 30) for n in range(rows))
        return path
    made = batches(rows)
    first = next(made)
    with (
        pa.OSFile(str(path), "wb") as sink,
        pq.ParquetWriter(sink, first.schema)
        if path.suffix == ".parquet"
        else pa.ipc.new_stream(sink, first.schema) as out,
    ):
        out.write_batch(first)
        for batch in made:
            out.write_batch(batch)
    return path


def held() -> int:
    """Bytes of this process that are no file's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10


def peak_of(work: str, path: Path) -> int:
    """The most that this process holds while it goes through the rows."""
    most, real = held(), Shards.rows

    def rows(shards: Shards) -> Iterator[Any]:
        nonlocal most
        for number, item in real(shards):
            if number % 1000 == 0:
                most = max(most, held())
            yield number, item

    Shards.rows = rows  # type: ignore[method-assign]
    if work == "read":
        assert sum(1 for _ in Shards(path).rows()) >= FEW
    elif work == "inspect":
        assert inspect_rows(open_source(path)).rows >= FEW
    else:
        assert check(open_source(path)).found == 0
    return most


def _tell(results: Any, work: str, path: Path) -> None:
    results.put(peak_of(work, path))


def peak(work: str, path: Path) -> int:
    """Of a process that does nothing else."""
    context = processes()
    results = context.SimpleQueue()
    process = context.Process(target=_tell, args=(results, work, path))
    process.start()
    process.join()
    assert process.exitcode == 0
    return int(results.get())


@pytest.mark.parametrize(
    ("work", "form"),
    [
        ("read", "jsonl"),
        ("read", "parquet"),
        ("read", "arrow"),
        ("inspect", "jsonl"),
        ("validate", "parquet"),
    ],
)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, work: str, form: str) -> None:
    few = peak(work, write(tmp_path / f"few.{form}", FEW))
    many = peak(work, write(tmp_path / f"many.{form}", MANY))
    assert many - few < ROOM
