"""The accepted rows -> signals/<encoding>/<split>, shard by shard, killed and resumed at will.

A shard covers a fixed range of the rows and depends on nothing else, so a resume skips the shards
that are whole and makes the same bytes. One pass over the teacher serves all encodings. What is
left out of a shard, and why, is in a file of its own that is written before it.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, tee
from pathlib import Path
from typing import Any

import orjson

from mwalimu.config import Config, needed_signals
from mwalimu.data.examples import Example, examples_of
from mwalimu.errors import TeacherError
from mwalimu.files import write_json
from mwalimu.progress import Progress
from mwalimu.run import Run
from mwalimu.signals import SignalWriter
from mwalimu.synthesis.capture.scoring import Result, Scored, Scorer, score_all


def capture(
    config: Config,
    run: Run,
    scorer: Scorer,
    *,
    stage_fingerprint: str,
    on_progress: Progress,
) -> dict[str, Any]:
    """Publishes signals/ and returns the summary: rows, tokens, bytes, left out by reason, seconds.

    The seconds are of this call: those of one that was killed before are not known.

    Closes the scorer.

    Raises:
        TeacherError: the teacher cannot be loaded, gives numbers that are not finite, or says
            nothing of any row: then the student would learn from text alone, unknown to anybody.
        DiskFull: the shards on disk are whole.
    """
    started = time.perf_counter()
    learned = run.learned()
    stage = _Stage(config, run, scorer, stage_fingerprint, on_progress)
    try:
        for split, path in learned.items():
            stage.capture_split(split, path)
    finally:
        scorer.close()
    stage.require_any()
    summary = stage.summary() | {"seconds": round(time.perf_counter() - started, 3)}
    run.finish("signals", stage_fingerprint, stage.files, summary)
    return summary


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
        self.examples = 0
        self.left_out: Counter[str] = Counter()
        self.totals = dict.fromkeys(self.names, (0, 0, 0))

    def capture_split(self, split: str, path: Path) -> None:
        total = sum(1 for _ in _examples(path))
        writers = {name: self._writer(name, split) for name in self.names}
        self._write_shards(split, path, total, writers)
        for name, writer in writers.items():
            manifest = writer.finish()
            rows, tokens, size_bytes = self.totals[name]
            self.totals[name] = (
                rows + manifest.rows,
                tokens + manifest.tokens,
                size_bytes + manifest.size,
            )
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

    def _write_shards(
        self, split: str, path: Path, total: int, writers: dict[str, SignalWriter]
    ) -> None:
        """In order; the scorer may be asked about those ahead meanwhile."""
        size = self.config.signals.rows_per_shard
        shards = range(math.ceil(total / size))
        missing = {n for n in shards if not all(one.holds(n) for one in writers.values())}
        asked, scored = tee(self._rows_of(path, missing))
        results = score_all(self.scorer, asked)
        for number in shards:
            why = self.run.path("signals", "left_out", f"{split}-{number:05d}.json")
            found: Sequence[Result] = ()
            if number in missing:
                found = next(results)
                self._note_left_out(next(scored), found, why)
            self._write_shard(number, found, writers)
            self._count_left_out(why)
            self.on_progress("signals", min(total, (number + 1) * size), total, split)

    def _rows_of(self, path: Path, shards: set[int]) -> Iterator[list[Example]]:
        examples = _examples(path)
        for number in range(max(shards, default=-1) + 1):
            rows = list(islice(examples, self.config.signals.rows_per_shard))
            if number in shards:
                yield rows

    @staticmethod
    def _write_shard(
        number: int, results: Sequence[Result], writers: dict[str, SignalWriter]
    ) -> None:
        scored = [one for one in results if isinstance(one, Scored)]
        for name, writer in writers.items():
            if not writer.shard_done(number):
                rows = [(key, crc, found[name]) for key, crc, found in scored if name in found]
                writer.write_shard(number, rows)

    def _note_left_out(
        self, examples: Sequence[Example], results: Sequence[Scored | str], why: Path
    ) -> None:
        """[row, reason] for each; no file where there is nothing to tell."""
        notes = []
        for example, result in zip(examples, results, strict=True):
            lacking = [n for n in self.names if isinstance(result, Scored) and n not in result[2]]
            reasons = [result] if isinstance(result, str) else [f"no {n} of it" for n in lacking]
            notes += [[example.row_id, reason] for reason in reasons]
        if notes:
            write_json(why, notes)
        else:
            why.unlink(missing_ok=True)

    def _count_left_out(self, why: Path) -> None:
        if why.is_file():
            self.left_out.update(reason for _, reason in orjson.loads(why.read_bytes()))
            self.files.append(why)

    def require_any(self) -> None:
        for name, (rows, _, _) in self.totals.items():
            if self.examples and not rows:
                (reason, _), *_ = self.left_out.most_common(1)
                raise TeacherError(
                    f"none of {self.examples} rows has {name} signals ({reason})",
                    where=str(self.run.path("signals", "left_out")),
                    fix="see the reasons there, or use the objective cross_entropy",
                )

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {"examples": self.examples, "encodings": ", ".join(self.names)}
        for name, (rows, tokens, size) in self.totals.items():
            found[f"{name}_rows"] = rows
            found[f"{name}_tokens"] = tokens
            found[f"{name}_bytes"] = size
            found[f"{name}_bytes_per_token"] = round(size / max(1, tokens), 2)
        if self.left_out:
            found["left_out"] = dict(sorted(self.left_out.items()))
        return found


def _examples(path: Path) -> Iterator[Example]:
    with open(path, "rb") as handle:
        for line in handle:
            yield from examples_of(orjson.loads(line))
