"""Folders of the `datasets` library, read by pyarrow alone: what `save_to_disk` wrote, or Parquet.

A folder of `save_to_disk` holds `state.json`, which lists the Arrow files in order; one of several
splits holds such a folder for each. A folder as the hub keeps it holds Parquet files, whose names
begin with their split's (`train-00000-of-00002.parquet`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mwalimu.data.readers import BadRow, read_parquet, rows_of_batches
from mwalimu.errors import DataError

_SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")


def read_folder(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """(row number from 1, row), file by file.

    Raises:
        DataError: the folder is no data set, is damaged, or holds several splits.
    """
    splits = _splits(path)
    if splits:
        raise DataError(
            f"holds the splits {', '.join(splits)}", where=str(path), fix="name the folder of one"
        )
    if (path / "state.json").is_file():
        yield from enumerate(_read_arrow(path), 1)
        return
    files = sorted(path.glob("*.parquet"))
    if not files:
        fix = "name a file in it, or a folder that 'datasets' saved"
        raise DataError("is a folder without a data set", where=str(path), fix=fix)
    names = sorted({_SHARD.sub("", file.stem) for file in files})
    if len(names) > 1:
        fix = "name one of its files"
        raise DataError(f"holds the files of {', '.join(names)}", where=str(path), fix=fix)
    number = 0
    for file in files:
        for _, row in read_parquet(file):
            number += 1
            yield number, row


def _splits(path: Path) -> list[str]:
    """Folders in it that are data sets themselves."""
    if (path / "state.json").is_file() or any(path.glob("*.parquet")):
        return []
    return sorted(one.parent.name for one in path.glob("*/state.json"))


def _read_arrow(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.lib

    for name in _arrow_files(path):
        file = path / name
        try:
            with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as stream:
                yield from rows_of_batches(stream)
        except (pyarrow.lib.ArrowException, OSError) as error:
            first = str(error).splitlines()[0]
            raise DataError(f"is not a readable Arrow file ({first})", where=str(file)) from None


def _arrow_files(path: Path) -> list[str]:
    """Names in the folder and of it: the list is data, not a path to be trusted."""
    state = path / "state.json"
    try:
        listed = json.loads(state.read_bytes())
        names = [str(one["filename"]) for one in listed["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"is damaged ({error})", where=str(state), fix="save it again") from None
    if listed.get("_indices_data_files"):
        fix = "save it again after flatten_indices()"
        raise DataError("is a selection of rows kept as indices", where=str(path), fix=fix)
    if any(Path(name).name != name for name in names):
        raise DataError("names files outside its folder", where=str(state), fix="save it again")
    return names
