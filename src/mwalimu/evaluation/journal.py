"""An arm's answers as they come, batch by batch on disk: a killed evaluation loses one batch.

One line a batch, each with its checksum, after a first line that says what the answers depend on.
A reader takes the whole lines up to the first that is damaged.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwalimu.data.batched_generation import Answer
from mwalimu.files import atomic_writer, disk_errors


@dataclass(slots=True)
class Journal:
    """`answers` by row number; what they took in all, and the most memory that a batch added."""

    path: Path
    answers: dict[int, Answer] = field(default_factory=dict)
    seconds: float = 0.0
    joules: float | None = 0.0
    peak_mib: float | None = None

    @classmethod
    def opened(cls, path: Path, fingerprint: str) -> Journal:
        """What an earlier life left that depended on the same; a fresh one in its place if none."""
        journal = cls(path)
        lines = list(_whole_lines(path))
        if not lines or lines[0] != {"fingerprint": fingerprint}:
            lines = [{"fingerprint": fingerprint}]
        with atomic_writer(path) as handle:
            handle.writelines(map(_line, lines))
        for batch in lines[1:]:
            journal._take(batch)
        return journal

    def add(
        self,
        rows: Sequence[int],
        answers: Sequence[Answer],
        *,
        seconds: float,
        joules: float | None,
        peak_mib: float | None,
    ) -> None:
        """Durable when it returns."""
        batch = {
            "rows": list(rows),
            "answers": [[a.text, a.tokens, a.stopped, *a.ids] for a in answers],
            "seconds": seconds,
            "joules": joules,
            "peak_mib": peak_mib,
        }
        with disk_errors(self.path), open(self.path, "ab") as handle:
            handle.write(_line(batch))
            handle.flush()
            os.fsync(handle.fileno())
        self._take(batch)

    def _take(self, batch: Mapping[str, Any]) -> None:
        for row, answer in zip(batch["rows"], batch["answers"], strict=True):
            text, tokens, stopped, *ids = answer
            self.answers[row] = Answer(text, tokens, stopped, ids=tuple(ids))
        self.seconds += batch["seconds"]
        known = self.joules is not None and batch["joules"] is not None
        self.joules = self.joules + batch["joules"] if known else None
        if batch["peak_mib"] is not None:
            self.peak_mib = max(self.peak_mib or 0.0, batch["peak_mib"])


def _line(value: Any) -> bytes:
    body = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _whole_lines(path: Path) -> Iterator[Any]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        checksum, _, body = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(body):
            return
        yield json.loads(body)
