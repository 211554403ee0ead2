"""The accepted rows -> signals/<encoding>/<split>, shard by shard, killed and resumed at will.

A shard covers a fixed range of the rows and depends on nothing else, so a resume skips the shards
that are whole and makes the same bytes. One pass over the teacher serves all encodings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import orjson

from mwalimu.config import Config, needed_signals
from mwalimu.data.examples import Example, examples_of
from mwalimu.run import Run
from mwalimu.signals import Encoding, Identity, Signal, SignalWriter

Progress = Callable[[str, int, int, str], None]
Scored = tuple[bytes, int, dict[str, Signal]]
"""(key, CRC of the target ids, the signals by encoding) of one example."""

SPLITS = ("train", "validation")


class Scorer(Protocol):
    """A teacher that says what it thinks of answers that exist already."""

    identity: Identity

    def encoding(self, name: str) -> Encoding: ...

    def score(self, examples: Sequence[Example]) -> list[Scored | None]:
        """One an example, in order; None for those that cannot be scored. Depends on nothing else
        but the examples.
        """


def capture(
    config: Config,
    run: Run,
    scorer: Scorer,
    *,
    stage_fingerprint: str,
    on_progress: Progress,
) -> dict[str, Any]:
    """Publishes signals/ and returns the summary: rows, tokens, bytes, bytes a token, left out.

    Raises:
        TeacherError: the teacher cannot be loaded, or gives numbers that are not finite.
        DiskFull: the shards on disk are whole.
    """
    published = run.require("generate").files
    splits = [split for split in SPLITS if f"generate/{split}.jsonl" in published]
    stage = _Stage(config, run, scorer, stage_fingerprint, on_progress)
    for split in splits:
        stage.capture_split(split)
    run.finish("signals", stage_fingerprint, stage.files, stage.summary())
    return stage.summary()


class _Stage:
    def __init__(
        self, config: Config, run: Run, scorer: Scorer, fingerprint: str, on_progress: Progress
    ) -> None:
        self.config = config
        self.run = run
        self.scorer = scorer
        self.fingerprint = fingerprint
        self.on_progress = on_progress
        self.names = needed_signals(config)
        self.files: list[Path] = []
        self.examples = self.left_out = 0
        self.totals = dict.fromkeys(self.names, (0, 0))

    def capture_split(self, split: str) -> None:
        path = self.run.path("generate", f"{split}.jsonl")
        total = sum(1 for _ in _examples(path))
        writers = {name: self._writer(name, split) for name in self.names}
        size = self.config.signals.rows_per_shard
        examples = _examples(path)
        for number, start in enumerate(range(0, total, size)):
            batch = list(islice(examples, size))
            self._shard(number, batch, writers)
            self.on_progress("signals", start + len(batch), total, split)
        for name, writer in writers.items():
            manifest = writer.finish()
            tokens, size_bytes = self.totals[name]
            self.totals[name] = (tokens + manifest.tokens, size_bytes + manifest.size)
            self.files += sorted(writer.folder.iterdir())
        self.examples += total

    def _writer(self, name: str, split: str) -> SignalWriter:
        folder = self.run.path("signals", name, split)
        return SignalWriter(
            folder,
            self.scorer.encoding(name),
            self.scorer.identity,
            self.fingerprint,
            self.config.signals.rows_per_shard,
        )

    def _shard(
        self, number: int, examples: Sequence[Example], writers: dict[str, SignalWriter]
    ) -> None:
        missing = [name for name, writer in writers.items() if not writer.shard_done(number)]
        if not missing:
            return
        scored = [one for one in self.scorer.score(examples) if one is not None]
        self.left_out += len(examples) - len(scored)
        for name in missing:
            rows = [(key, crc, s[name]) for key, crc, s in scored if name in s]
            writers[name].write_shard(number, rows)

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {"examples": self.examples, "encodings": ", ".join(self.names)}
        for name, (tokens, size) in self.totals.items():
            found[f"{name}_tokens"] = tokens
            found[f"{name}_bytes"] = size
            found[f"{name}_bytes_per_token"] = round(size / max(1, tokens), 2)
        return found


def _examples(path: Path) -> Iterator[Example]:
    with open(path, "rb") as handle:
        for line in handle:
            yield from examples_of(orjson.loads(line))
