"""A teacher of batches that takes several at once: the same batches, the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mwalimu.teachers.base import Reply, Request, TransientError
from tests.synthesis.scripted import Scripted, Stage, config_of, rows

SIZE = 4


class Busy(Scripted):
    """Notes how many of its batches were under way at once."""

    under_way = most = 0

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().send(requests)
        finally:
            self.under_way -= 1


def echo(request: Request) -> str:
    return f"echo {request.messages[-1].content}"


def answered(folder: Path, monkeypatch: pytest.MonkeyPatch, concurrency: int) -> tuple[bytes, Busy]:
    teacher = Busy("t", echo, latency_s=0.02, batch_size=SIZE, concurrency=concurrency)
    stage = Stage(folder, monkeypatch, teacher)
    questions = [f"{'long ' * (i % 7)}question {i}" for i in range(203)]
    stage.run(config_of(folder, [teacher]), rows(*questions))
    return stage.bytes(), teacher


def test_batches_at_once_are_those_of_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, alone = answered(tmp_path / "one", monkeypatch, 1)
    many, together = answered(tmp_path / "many", monkeypatch, 5)
    assert one == many
    assert sorted(alone.batches) == sorted(together.batches)
    assert (alone.most, together.most) == (1, 5)


def test_a_batch_that_fails_for_good_stops_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(request: Request) -> str:
        if "question 9" in request.messages[-1].content:
            raise OSError("a bug")
        return echo(request)

    teacher = Busy("t", failing, batch_size=SIZE, concurrency=3)
    stage = Stage(tmp_path, monkeypatch, teacher)
    with pytest.raises(OSError, match="a bug"):
        stage.run(config_of(tmp_path, [teacher]), rows(*(f"question {i}" for i in range(64))))
    assert teacher.under_way == 0


def test_a_batch_that_is_tried_again_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def once_lost(request: Request) -> str:
        asked = request.messages[-1].content
        if asked == "question 0" and asked not in tried:
            tried.append(asked)
            raise TransientError("its worker was lost", ambiguous=True)
        return echo(request)

    monkeypatch.setattr("mwalimu.synthesis.ask.backoff_s", lambda *_: 0.0)
    teacher = Busy("t", once_lost, batch_size=SIZE, concurrency=2)
    stage = Stage(tmp_path, monkeypatch, teacher)
    accepted, rejected = stage.run(
        config_of(tmp_path, [teacher]), rows(*(f"question {i}" for i in range(16)))
    )
    assert len(accepted) == 16 and rejected == []
    assert len(teacher.batches) == 5
