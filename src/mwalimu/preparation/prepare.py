"""STAGE 0: the prompts that are worth their price. Every row left out is a reject with its reason.

Publishes `prepare/`: train.jsonl and validation.jsonl, rejects.jsonl, funnel.json with the counts,
diversity.json with the spread of the training rows before and after.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mwalimu.config import Config
from mwalimu.data.dataset import Dataset
from mwalimu.errors import DataError
from mwalimu.files import atomic_writer, write_json
from mwalimu.preparation.left_out import LeftOut, Why
from mwalimu.preparation.near_duplicates import CHUNK, SIZE, first_near, signatures
from mwalimu.preparation.screening import Kind, Matched, Sources, screen
from mwalimu.preparation.shaping import shape
from mwalimu.preparation.words import setting, turns
from mwalimu.progress import Progress
from mwalimu.run import Run

Out = dict[str, LeftOut]
"""By split."""


def prepare(
    config: Config, run: Run, sources: Sources, *, stage_fingerprint: str, on_progress: Progress
) -> dict[str, Any]:
    """Returns the number of rows that are left of every split.

    Raises:
        DataError: a row is refused (see screening.py), a score is missing, or no row is left.
        MissingDependency: balance by topic, topics and coverage need the extra `curate`.
    """
    matches = screen(config, sources, lambda text: on_progress("prepare", 0, 0, text))
    out = {split: LeftOut(len(data)) for split, data in sources.prompts.items()}
    for split, matched in matches.items():
        _contaminated(config, matched, out[split])
    if config.prepare.near_duplicates is not None:
        _near_duplicates(sources, config.prepare.near_duplicates, out)
    diversity = shape(config, sources.train, out["train"])
    funnel = {split: _funnel(len(data), out[split]) for split, data in sources.prompts.items()}
    for split, counts in funnel.items():
        if not counts["out"]:
            path, why = sources.prompts[split].path, _in_words({split: counts})
            raise DataError(f"no row is left ({why})", where=str(path), fix="give it other rows")
    files = _write(run, sources, out)
    reports = {"funnel.json": {"splits": funnel}, "diversity.json": diversity}
    for name, content in reports.items():
        write_json(run.path("prepare", name), content)
        files.append(run.path("prepare", name))
    summary = {split: counts["out"] for split, counts in funnel.items()}
    run.finish("prepare", stage_fingerprint, files, summary)
    on_progress("prepare", 0, 0, _in_words(funnel))
    return summary


def _contaminated(config: Config, matched: Matched, out: LeftOut) -> None:
    """Adds to `out`."""
    dropped = {"equal": config.data.contamination, "overlap": config.prepare.overlap}
    reasons = {"equal": "contamination", "overlap": "overlap"}
    leave_out: dict[tuple[Kind, int], Callable[[int, int], None]] = {}
    for at, _, hit in matched.hits():
        if dropped[hit.kind] != "drop":
            continue
        kind = (hit.kind, hit.which)
        if kind not in leave_out:
            detail = partial(matched.detail, which=hit.which, kind=hit.kind)
            leave_out[kind] = out.because(Why(reasons[hit.kind], detail))
        leave_out[kind](at, hit.number)


def _near_duplicates(sources: Sources, threshold: float, out: Out) -> None:
    """Adds to `out`. Test rows come first and all stay; then those of validation, then of train."""
    given = {"test": sources.test, **sources.prompts}
    order = [
        (split, data) for split in ("test", "validation", "train") if (data := given.get(split))
    ]
    total = sum(len(data) for _, data in order)
    found = np.empty((total, SIZE), np.uint8)
    settings, places = array("Q"), array("q")
    starts = []
    for split, data in order:
        starts.append(len(settings))
        texts = _texts(data, out.get(split), settings, places)
        for number, part in enumerate(signatures(texts)):
            at = starts[-1] + number * CHUNK
            found[at : at + len(part)] = part
    kept = found[: len(settings)]
    protected = starts[1] if order[0][0] == "test" else 0
    near = first_near(kept, np.frombuffer(settings, np.uint64), threshold, protected=protected)
    leave_out: dict[tuple[str, str], Callable[[int, int], None]] = {}
    for row in np.flatnonzero(near >= 0):
        split, _ = order[np.searchsorted(starts, row, side="right") - 1]
        of, data = order[np.searchsorted(starts, near[row], side="right") - 1]
        if (split, of) not in leave_out:
            reason = "near duplicate" if of == split else f"near a {of} row"
            detail = f"row {{}} of {str(data.path).replace('{', '{{').replace('}', '}}')}".format
            leave_out[split, of] = out[split].because(Why(reason, detail))
        leave_out[split, of](places[row], places[near[row]] + 1)


def _texts(
    data: Dataset, out: LeftOut | None, settings: array[int], places: array[int]
) -> Iterator[str]:
    for number, record in enumerate(data):
        if out is None or number not in out:
            settings.append(setting(record))
            places.append(number)
            yield turns(record)


def _funnel(rows: int, out: LeftOut) -> dict[str, Any]:
    removed = out.counts()
    return {"in": rows, "out": rows - removed.total(), "removed": dict(sorted(removed.items()))}


def _write(run: Run, sources: Sources, out: Out) -> list[Path]:
    splits = sources.prompts
    files = [run.path("prepare", f"{name}.jsonl") for name in (*splits, "rejects")]
    with ExitStack() as stack:
        *outputs, rejects = [stack.enter_context(atomic_writer(path)) for path in files]
        for (split, data), output in zip(splits.items(), outputs, strict=True):
            for number, record in enumerate(data):
                if (why := out[split].of(number)) is None:
                    output.write(_line(record.to_json()))
                else:
                    told = {"split": split, "reason": why[0], "detail": why[1]}
                    rejects.write(_line(record.to_json() | told))
    return files


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _in_words(funnel: dict[str, dict[str, Any]]) -> str:
    said = []
    for split, counts in funnel.items():
        removed = ", ".join(f"{number:,} {why}" for why, number in counts["removed"].items())
        left = f"{split}: {counts['out']:,} of {counts['in']:,} rows are left"
        said.append(f"{left} ({removed})" if removed else left)
    return "; ".join(said)
