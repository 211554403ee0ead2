"""Stage curate: accepted rows -> the rows that are learned; every other row with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from mwalimu.config import Config
from mwalimu.curation.checks.label import Seen
from mwalimu.curation.consistency import SET_ASIDE
from mwalimu.curation.judging import Ask
from mwalimu.curation.passes import Pass, survivors
from mwalimu.curation.plan import build_passes
from mwalimu.curation.row import Row, read_rows
from mwalimu.curation.verdict import Verdict
from mwalimu.data.record import Record
from mwalimu.errors import TooFewAnswers
from mwalimu.files import atomic_writer, write_json
from mwalimu.progress import Progress
from mwalimu.run import LEARNED, Run

REPORTED_EVERY = 1000


def curate(
    config: Config,
    run: Run,
    *,
    gold: Iterable[Record],
    ask: Ask | None,
    stage_fingerprint: str,
    on_progress: Progress,
) -> dict[str, Any]:
    """Publishes train.jsonl, validation.jsonl, rejects.jsonl and funnel.json; returns the summary.

    Streams: memory is that of one prompt's samples, or of the rows before the judge. The files keep
    the order, and the bytes, of stage 1. `gold` are the labelled rows; `ask` is the judge, if any.

    Raises:
        TooFewAnswers: after publishing the files, when the kept share is below curate.min_ok.
        ConfigError, MissingDependency: what a check needs is not there.
    """
    accepted = _accepted(run)
    passes = build_passes(config, _seen(gold, accepted.values()), ask)
    total = int(run.require("generate").summary.get("outcomes", {}).get("ok", 0))
    stage = _Stage(run, accepted, passes, total, on_progress)
    stage.execute()
    summary = stage.summary()
    _require_enough(config, stage, run)
    run.finish("curate", stage_fingerprint, stage.files, summary)
    return summary


@dataclass(slots=True)
class _Funnel:
    """What became of a split's rows: `rows_in` is `rows_out` and the removed ones."""

    rows_in: int = 0
    rows_out: int = 0
    removed: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {"in": self.rows_in, "out": self.rows_out, "removed": dict(self.removed)}


class _Stage:
    """One pass over the splits, writing as it goes."""

    def __init__(
        self,
        run: Run,
        accepted: dict[str, Path],
        passes: list[tuple[str, Pass]],
        total: int,
        on_progress: Progress,
    ) -> None:
        self.run = run
        self.accepted = accepted
        self.passes = passes
        self.total = total
        self.on_progress = on_progress
        self.funnels = {split: _Funnel() for split in accepted}
        names = [f"{name}.jsonl" for name in (*accepted, "rejects")]
        self.files = [run.path("curate", name) for name in (*names, "funnel.json")]

    def execute(self) -> None:
        with ExitStack() as stack:
            writers = [stack.enter_context(atomic_writer(path)) for path in self.files[:-1]]
            *outputs, rejects = writers
            for (split, path), output in zip(self.accepted.items(), outputs, strict=True):
                self._curate(split, path, output, rejects)
        splits = {split: funnel.to_json() for split, funnel in self.funnels.items()}
        write_json(self.files[-1], {"splits": splits})

    def _curate(self, split: str, path: Path, output: IO[bytes], rejects: IO[bytes]) -> None:
        funnel = self.funnels[split]

        def rejected(name: str, row: Row, verdict: Verdict) -> None:
            funnel.removed[f"{name}: {verdict.reason}"] += 1
            rejects.write(_reject_line(name, row, verdict))

        for row in survivors(self._counted(split, path), self.passes, rejected):
            funnel.rows_out += 1
            output.write(row.line)

    def _counted(self, split: str, path: Path) -> Iterator[Row]:
        for row in read_rows(path):
            self.funnels[split].rows_in += 1
            yield row
            if self.funnels[split].rows_in % REPORTED_EVERY == 0:
                self._report(split)
        self._report(split)

    def _report(self, split: str) -> None:
        done = sum(funnel.rows_in for funnel in self.funnels.values())
        self.on_progress("curate", done, max(done, self.total), split)

    def summary(self) -> dict[str, Any]:
        removed: Counter[str] = Counter()
        for funnel in self.funnels.values():
            removed.update(funnel.removed)
        rows_in = sum(funnel.rows_in for funnel in self.funnels.values())
        rows_out = sum(funnel.rows_out for funnel in self.funnels.values())
        return {"in": rows_in, "out": rows_out, **dict(removed.most_common())}


def _accepted(run: Run) -> dict[str, Path]:
    published = run.require("generate").files
    files = {split: f"generate/{split}.jsonl" for split in LEARNED}
    return {split: run.path(file) for split, file in files.items() if file in published}


def _seen(gold: Iterable[Record], accepted: Iterable[Path]) -> Iterator[Seen]:
    """The labelled rows, and the teacher's answers with the gold ones that stand beside them."""
    for record in gold:
        yield Seen(record.task, gold=record.reference)
    for path in accepted:
        for row in read_rows(path):
            for answer in row.answers:
                yield Seen(answer.task, answer.reference, answer.text)


def _reject_line(name: str, row: Row, verdict: Verdict) -> bytes:
    found = {"check": name, "reason": verdict.reason, "value": verdict.value}
    return orjson.dumps({**row.content, **found}, option=orjson.OPT_APPEND_NEWLINE)


def _require_enough(config: Config, stage: _Stage, run: Run) -> None:
    """Samples that stand behind a kept one of their prompt are no loss."""
    summary = stage.summary()
    judged = summary["in"] - summary.get(f"consistency: {SET_ASIDE}", 0)
    share = summary["out"] / judged if judged else 1.0
    if share >= config.curate.min_ok:
        return
    worst = next(name for name in summary if name not in ("in", "out"))
    raise TooFewAnswers(
        f"{share:.1%} of the answers are worth learning, {config.curate.min_ok:.1%} are asked for "
        f"(most fail '{worst}')",
        where=str(run.path("curate", "rejects.jsonl")),
        fix="see the reasons there; mend them, or set curate.checks or curate.min_ok",
    )
