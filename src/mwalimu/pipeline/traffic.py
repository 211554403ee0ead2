"""What clients asked of the last student becomes training prompts beside `data.train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mwalimu.config import Config
from mwalimu.data.dataset import open_dataset
from mwalimu.data.record import Record
from mwalimu.data.seen import FirstSeen
from mwalimu.data.traffic import ANSWERS, read_traffic
from mwalimu.files import atomic_writer
from mwalimu.run import Run
from mwalimu.synthesis.rows import to_line

Note = Callable[[str], None]


def with_traffic(config: Config, run: Run, note: Note) -> Config:
    """The config with `traffic/train.jsonl` of the run folder as its training prompts.

    They are those of `data.train`, at most `data.max_rows`, and then all of the traffic. A
    question that stands in both is left out of stage 1 like any other repetition; one that a test
    row asks is refused or dropped as `data.contamination` says.

    Raises:
        DataError: a file cannot be used, or the folder has no traffic.
    """
    assert config.data.train is not None and config.data.traffic is not None
    merged = run.path("traffic", "train.jsonl")
    with atomic_writer(merged) as output:
        for record in _records(config, config.data.train, config.data.traffic, note):
            output.write(to_line(record.to_json()))
    data = {"train": merged, "max_rows": None}
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def _records(config: Config, train: Path, traffic: Path, note: Note) -> Iterator[Record]:
    rows = config.data.max_rows
    own = open_dataset(train, task=config.task, split="train", max_rows=rows)
    with FirstSeen() as seen:
        for record in own:
            seen.first(record.id, 1)
            yield record
        new = 0
        for record in read_traffic(traffic, task=config.task, note=note):
            if seen.first(record.id, 1) is None:
                new += 1
                yield record
    note(f"{new:,} prompts of {traffic} beside {len(own):,} of {train}")


def take_traffic_answers(traffic: Path, store: Path, note: Note) -> None:
    """The teacher's answers that the server bought, into the job's store: nobody buys them again.

    Raises:
        RunError: `traffic/answers` is no answer store, or another process works in `store`.
    """
    from mwalimu.synthesis.sharing import take_answers

    if (traffic / ANSWERS).is_dir():
        taken = take_answers(traffic / ANSWERS, store)
        note(f"{taken.new:,} answers taken from {traffic}, {taken.known:,} known before")
