"""For every strategy: neither chance nor a second life changes a byte or buys an answer twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import TeacherUnreachable
from mwalimu.teachers.base import Completion, Request
from tests.synthesis.scripted import Script, Scripted, Stage, chance, config_of, rows, says


def members(latency_s: float, *, local: tuple[str, ...] = (), concurrency: int = 8) -> Any:
    """Three that answer, refuse and fail by chance, and a judge."""

    def mixed(request: Request) -> str | Completion:
        said = chance(request, "yes", "no", "yes", "no", "refuse", "cut", "")
        if said == "cut":
            return says("half", finish_reason="length")
        return says("", finish_reason="refusal") if said == "refuse" else said

    def judge(request: Request) -> str:
        return chance(request, "Answer: A", "Answer: B", "I cannot say")

    return [
        Scripted(
            name,
            judge if name == "j" else mixed,
            latency_s=latency_s,
            batch_size=4 if name in local else 1,
            concurrency=1 if name in local else concurrency,
            top_logprobs=1,
        )
        for name in "abcj"
    ]


SETTINGS: dict[str, dict[str, Any]] = {
    "vote": {},
    "judge": {},
    "mix": {"weights": (1, 2, 3)},
    "fallback": {},
    "route": {"draws": 2},
}
LOCAL = [(), ("a",), ("b", "c"), ("a", "b", "c", "j"), ("j",)]


@pytest.mark.parametrize("local", LOCAL, ids=lambda names: "".join(names) or "served")
@pytest.mark.parametrize("strategy", SETTINGS)
def test_chance_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, local: tuple[str, ...]
) -> None:
    """Latency, concurrency and a second life; local members answer the same batches."""
    records = rows(*[f"q{i}" for i in range(30)])
    outputs, batches = [], []
    for latency, concurrency in ((0.0, 8), (0.004, 1), (0.004, 32)):
        *teachers, judge = members(latency, local=local, concurrency=concurrency)
        stage = Stage(tmp_path / f"{latency}-{concurrency}", monkeypatch, *teachers, judge)
        config = config_of(
            tmp_path,
            teachers,
            strategy,
            judge=judge if strategy == "judge" else None,
            temperature=0.7,
            generate={"samples": 2},
            **SETTINGS[strategy],
        )
        stage.run(config, records)
        outputs.append(stage.bytes())
        batches.append([one.batches for one in (*teachers, judge) if one.batch_size > 1])
        sent = sum(len(one.asked) for one in (*teachers, judge))
        stage.run(config, records, "again")
        assert stage.bytes("again") == outputs[-1]
        assert sum(len(one.asked) for one in (*teachers, judge)) == sent
    assert outputs[0] == outputs[1] == outputs[2]
    assert batches[0] == batches[1] == batches[2]
    assert outputs[0].count(b"\n") == 60


@pytest.mark.parametrize("strategy", SETTINGS)
def test_a_stopped_run_buys_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    records = rows(*[f"q{i}" for i in range(40)])
    *teachers, judge = everyone = members(0.002)
    config = config_of(
        tmp_path,
        teachers,
        strategy,
        judge=judge if strategy == "judge" else None,
        temperature=0.7,
        **SETTINGS[strategy],
    )
    stage = Stage(tmp_path, monkeypatch, *everyone)
    last = teachers[-1]
    honest: Script = last.script
    stop_at = 2

    def stops(request: Request) -> str | Completion:
        if len(last.asked) >= stop_at:
            raise TeacherUnreachable("gone", where="c")
        return honest(request)

    last.script = stops
    for _ in range(3):
        with pytest.raises(TeacherUnreachable):
            stage.run(config, records)
        stop_at = len(last.asked) + 2
    last.script = honest
    stage.run(config, records)
    assert max(sum((one.bought for one in everyone), Counter()).values()) == 1
    whole = Stage(tmp_path / "whole", monkeypatch, *members(0.0))
    whole.run(config, records)
    assert whole.bytes() == stage.bytes()
