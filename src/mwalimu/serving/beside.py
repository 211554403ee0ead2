"""The cascade beside a server: on an event loop of its own, open before the first request.

So a wrong key or a wrong threshold ends the start with one line, and what the teacher's side does
(files, SQLite, a local model) holds up no request that the student answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mwalimu.config import load_config
from mwalimu.errors import RunError
from mwalimu.run import Run
from mwalimu.serving.calibration import MARGIN, threshold
from mwalimu.serving.cascade import CascadeOptions, Note, TeacherCascade, open_cascade
from mwalimu.serving.cascade_contract import Escalated
from mwalimu.serving.completion import Completion
from mwalimu.teachers.loop_thread import LoopThread


class CascadeBeside:
    """A `Cascade` for any event loop; `counts` and `spent_usd` are those of the one within."""

    def __init__(self, thread: LoopThread, within: TeacherCascade) -> None:
        self.thread = thread
        self.within = within

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self.within.counts)

    @property
    def spent_usd(self) -> float:
        return self.within.spent_usd

    async def second(
        self, messages: Sequence[Mapping[str, Any]], student: Completion, *, max_tokens: int
    ) -> Escalated | None:
        """See `Cascade`. Who is cancelled here no longer waits there."""
        work = self.within.second(messages, student, max_tokens=max_tokens)
        return await asyncio.wrap_future(self.thread.begin(work))


@contextmanager
def cascade_beside(
    target: Path,
    options: CascadeOptions,
    note: Note,
    *,
    below: str,
    margin: float = MARGIN,
) -> Iterator[CascadeBeside]:
    """For the student at `target`, a run folder or something in it.

    `below` is what the user says: a number or "auto"; it takes the place of `options.below`.

    Raises:
        RunError: `target` is in no run folder, or another server uses the traffic folder.
        ConfigError, TeacherError: as `threshold` and `open_cascade`.
    """
    run = run_of(target)
    options = replace(options, below=threshold(below, run, note, margin))
    opened = open_cascade(load_config(run.path("config.yaml")), options, note)
    thread = LoopThread("cascade")
    try:
        within = thread.wait(opened.__aenter__())
    except BaseException:
        thread.close(_nothing())
        raise

    async def leave() -> None:
        await opened.__aexit__(None, None, None)

    try:
        yield CascadeBeside(thread, within)
    finally:
        thread.close(leave())


def run_of(target: Path) -> Run:
    """The run folder that `target` is, or is in.

    Raises:
        RunError: there is none.
    """
    place = target.resolve()
    for folder in (place, *place.parents[:3]):
        if (folder / "run.json").is_file():
            return Run(folder)
    raise RunError(
        "is in no run folder, so nothing is known of its teacher",
        where=str(target),
        fix="name a run folder, or leave out --fallback",
    )


async def _nothing() -> None: ...
