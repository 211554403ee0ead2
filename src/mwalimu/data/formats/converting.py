"""From one format to another: whole or not at all, and what was lost is told."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import orjson

from mwalimu.data.formats import BY_NAME, Format, named
from mwalimu.data.formats.source import Source
from mwalimu.data.readers import BadRow
from mwalimu.errors import ConfigError
from mwalimu.files import atomic_writer

KEPT_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Converted:
    """`lost` counts the rows of which the target could not hold something, by what it was."""

    rows: int
    left_out: int
    lost: dict[str, int]
    target: str

    def in_words(self) -> str:
        parts = [f"{self.rows} rows written as {self.target}"]
        if self.lost:
            named = ", ".join(f"{what} ({count} rows)" for what, count in self.lost.items())
            parts.append(f"which cannot hold {named}")
        if self.left_out:
            parts.append(f"{self.left_out} rows left out")
        return "; ".join(parts)


def convert(source: Source, out: Path, target: str) -> Converted:
    """Writes JSONL, gzipped where `out` ends so.

    Raises:
        DataError: names every bad row; nothing is written then.
        ConfigError: `target` cannot be written, or `out` is what is read.
    """
    to = _writable(target)
    if out.exists() and any(map(out.samefile, source.shards.files)):
        raise ConfigError("is the file that is read", where=str(out), fix="name another one")
    with atomic_writer(out) as handle:
        if out.suffix != ".gz":
            return _write(source, handle, to)
        # Without a time and a name in it: equal rows are equal bytes.
        with gzip.GzipFile(filename="", fileobj=handle, mode="wb", mtime=0) as packed:
            return _write(source, cast(IO[bytes], packed), to)


def _writable(target: str) -> Format:
    able = [name for name, one in BY_NAME.items() if one.write]
    to = named(target, option="--to", able=able)
    if to.write is None:
        fix = f"one of {', '.join(able)}"
        raise ConfigError(f"{target} can only be read", where="--to", fix=fix)
    return to


def _write(source: Source, handle: IO[bytes], to: Format) -> Converted:
    assert to.write is not None
    rows = left_out = 0
    lost: Counter[str] = Counter()
    problems: list[BadRow] = []
    for _, record in source.records():
        if isinstance(record, BadRow):
            problems += [record] if len(problems) < KEPT_PROBLEMS else []
            continue
        written = to.write(record)
        lost.update(written.lost)
        if written.row is None:
            left_out += 1
            continue
        rows += 1
        handle.write(orjson.dumps(written.row, option=orjson.OPT_APPEND_NEWLINE))
    if problems:
        raise source.shards.error(problems)
    return Converted(rows, left_out, dict(lost), to.name)
