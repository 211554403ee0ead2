"""What is remembered of a batch: written before it goes out, and again when its id is known.

One file a batch, `batches/000001.json` in the folder of the answer store. A life that ends at any
point leaves either no file, or one that says what may be under way at the provider.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from mwalimu.errors import RunError
from mwalimu.files import atomic_writer, fsync_folder
from mwalimu.synthesis.frames import Cost

FORMAT_VERSION = 1
RecordState = Literal["submitting", "running", "done"]


@dataclass(slots=True)
class BatchRecord:
    """`requests` are the keys and what each may cost at worst; `submitted_at` is in Unix seconds.

    State "submitting": it goes out, or went out in a life that did not learn its id. "running":
    its results are not all in. "done": they are; `requests` are those it left without an answer,
    if any; the record goes when they have one and some time has passed.
    `place` and `identity` say whose it is, `run` on whose account, `tag` is its name at the
    provider where that keeps one.
    """

    path: Path
    tag: str
    identity: str
    place: str
    run: str
    submitted_at: float
    requests: dict[str, Cost]
    remote: str | None = None
    state: RecordState = "submitting"


class BatchFolder:
    """The records of a store; whoever holds the store's lock may write here."""

    def __init__(self, store: Path) -> None:
        self.folder = store / "batches"

    def load(self) -> list[BatchRecord]:
        """All of them, the oldest first. Raises RunError for one that cannot be read."""
        return [_read(path) for path in sorted(self.folder.glob("*.json"))]

    def new(self, identity: str, place: str, run: str, requests: dict[str, Cost]) -> BatchRecord:
        """A saved record of what is about to go out. Raises DiskFull."""
        numbers = [int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdigit()]
        path = self.folder / f"{max(numbers, default=0) + 1:06d}.json"
        tag = secrets.token_hex(16)
        record = BatchRecord(path, tag, identity, place, run, time.time(), requests)
        self.save(record)
        return record

    def save(self, record: BatchRecord) -> None:
        """Durable when it returns. Raises DiskFull; then what was there before is still there."""
        content = {
            "format_version": FORMAT_VERSION,
            "state": record.state,
            "identity": record.identity,
            "place": record.place,
            "run": record.run,
            "tag": record.tag,
            "remote": record.remote,
            "submitted_at": record.submitted_at,
            "requests": {key: list(cost) for key, cost in record.requests.items()},
        }
        with atomic_writer(record.path) as handle:
            handle.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))

    def remove(self, record: BatchRecord) -> None:
        record.path.unlink(missing_ok=True)
        fsync_folder(self.folder)


def _read(path: Path) -> BatchRecord:
    try:
        content: dict[str, Any] = orjson.loads(path.read_bytes())
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format_version']}")
        return BatchRecord(
            path,
            content["tag"],
            content["identity"],
            content["place"],
            content["run"],
            content["submitted_at"],
            {key: Cost(*cost) for key, cost in content["requests"].items()},
            content["remote"],
            content["state"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"is no record of a batch that can be read ({error})",
            where=str(path),
            fix="look at the provider which batches run, then move it aside",
        ) from None
