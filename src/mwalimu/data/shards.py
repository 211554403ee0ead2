"""The files of a data set, in their order: one file, a folder of them, or all that a pattern names.

Rows are numbered on from file to file in the natural order of the names (part-2 before part-10), so
that a row's number, and all that follows from it, does not depend on who reads the set, or on how
many do.

A folder that `datasets` saved holds `state.json`, which lists its Arrow files in order; one of
several splits holds such a folder for each. In any other folder the files of rows are one set if
their names differ by a number alone (`train-00000-of-00002.parquet`, as the hub keeps them): one
that holds train.jsonl and test.jsonl is two, and nobody learns from the second by mistake.
"""

from __future__ import annotations

import glob
import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mwalimu.data.readers import SUFFIXES, BadRow, read_file, suffix_of
from mwalimu.errors import DataError
from mwalimu.files import sha256_file
from mwalimu.run import fingerprint

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 5

_NUMBER = re.compile(r"(^|[-_.])\d+(-of-\d+.*|-[0-9a-f]{8}-.*)?$")
"""What tells the files of one set apart: of ours, of the hub, of Spark."""


class Shards:
    """The rows of `path`; gone through as often as needed, in constant memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []  # the number of the last row of each file that was read

    def __repr__(self) -> str:
        return f"Shards({str(self.path)!r})"

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """In order. Raises DataError: there are none, or they are no one data set."""
        if self.path.is_dir():
            return _in_folder(self.path)
        if self.path.exists() or not glob.has_magic(str(self.path)):
            return (self.path,)
        root = next(parent for parent in self.path.parents if parent.exists())
        pattern = str(self.path.relative_to(root))  # a bracket in a folder's own name is no pattern
        found = (root / name for name in glob.glob(pattern, root_dir=root, recursive=True))
        files = sorted((one for one in found if one.is_file()), key=_natural)
        if not files:
            raise DataError("fits no file", where=str(self.path), fix="check the pattern")
        return tuple(files)

    @property
    def name(self) -> str:
        """What a row's id begins with where it brings none."""
        first = self.files[0]
        return first.name.split(".")[0] if len(self.files) == 1 else _set_name(first) or "rows"

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
        """(number from 1, raw row or its problem): in a set of one file, the number is the line.

        Raises:
            DataError: a file is missing, or cannot be read.
        """
        before = 0
        for index, file in enumerate(self.files):
            number = before
            for line, row in read_file(file):
                number = before + line
                if isinstance(row, BadRow):
                    row = BadRow(number, row.field, row.problem, row.fix)
                yield number, row
            self._ends[index : index + 1] = [number]
            before = number

    def place(self, number: int) -> str:
        """`file:line` of a row that was read; of number 0, the set as a whole."""
        if not number:
            return str(self.path)
        file, line = self._found(number)
        return f"{file}:{line}"

    def spoken(self, number: int) -> str:
        """The same for a line that names the set already."""
        file, line = self._found(number)
        return f"line {line}" if len(self.files) == 1 else f"{file.name}:{line}"

    def told(self, problem: BadRow) -> str:
        """One line: where, which field, what is wrong, what to do."""
        field = f" {problem.field}:" if problem.field else ""
        return f"{self.place(problem.line)}:{field} {problem.problem}; {problem.fix}"

    def error(self, problems: Sequence[BadRow]) -> DataError:
        """One error for all bad rows."""
        shown = [self.told(problem) for problem in problems[:SHOWN_PROBLEMS]]
        more = len(problems) - len(shown)
        tail = f"\n... and {more} more" if more > 0 else ""
        noun = "row is" if len(problems) == 1 else "rows are"
        return DataError(
            f"{len(problems)} {noun} not usable\n" + "\n".join(shown) + tail, where=str(self.path)
        )

    def sha256(self) -> str:
        """Of the content of all files in their order, whatever they are called."""
        hashes = [sha256_file(file) for file in self.files]
        return hashes[0] if len(hashes) == 1 else fingerprint(hashes)

    def _found(self, number: int) -> tuple[Path, int]:
        """The file and the line of it. While a file is read, its end is not known yet."""
        index = bisect_left(self._ends, number)
        return self.files[index], number - (self._ends[index - 1] if index else 0)


def rows_hash(path: Path | None) -> str | None:
    """`Shards.sha256` of a set that need not be there."""
    try:
        return None if path is None else Shards(path).sha256()
    except (DataError, OSError):
        return None


def _in_folder(folder: Path) -> tuple[Path, ...]:
    if (folder / "state.json").is_file():
        return tuple(folder / name for name in _saved_files(folder))
    found = (one for one in folder.iterdir() if not one.name.startswith("."))
    files = sorted((one for one in found if suffix_of(one) in SUFFIXES), key=_natural)
    if not files:
        if splits := sorted(one.parent.name for one in folder.glob("*/state.json")):
            what, fix = f"holds the splits {', '.join(splits)}", "name the folder of one"
            raise DataError(what, where=str(folder), fix=fix)
        fix = "name a file in it, or a folder that 'datasets' saved"
        raise DataError("is a folder without a data set", where=str(folder), fix=fix)
    names = sorted({_set_name(file) for file in files})
    if len(names) > 1:
        shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
        fix = f"name one of its files, or several by a pattern as {folder.name}/{names[0]}*"
        raise DataError(f"holds the files of {shown}", where=str(folder), fix=fix)
    return tuple(files)


def _saved_files(folder: Path) -> list[str]:
    """Names in the folder and of it: the list is data, not a path to be trusted."""
    state = folder / "state.json"
    try:
        listed = json.loads(state.read_bytes())
        names = [str(one["filename"]) for one in listed["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"is damaged ({error})", where=str(state), fix="save it again") from None
    if listed.get("_indices_data_files"):
        fix = "save it again after flatten_indices()"
        raise DataError("is a selection of rows kept as indices", where=str(folder), fix=fix)
    if any(Path(name).name != name for name in names):
        raise DataError("names files outside its folder", where=str(state), fix="save it again")
    return names


def _set_name(file: Path) -> str:
    stem = file.name.removesuffix(".gz")
    return _NUMBER.sub("", stem[: -len(Path(stem).suffix)] if Path(stem).suffix else stem)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Numbers in names count as numbers; what that leaves equal (1, 01) goes by its characters."""
    pieces = re.split(r"(\d+)", str(path))  # every second one is a number
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], str(path)
