"""Answer stores of jobs that run at the same time, and the one that they share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mwalimu.files import exclusive
from mwalimu.jobs.workers import answers as module
from mwalimu.jobs.workers.answers import own_answers
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import AnswerStore, Stored, read_answers

ACCOUNT = "ab" * 16


def key(number: int) -> str:
    return f"{number:064x}"


def buy(store: Path, *numbers: int) -> None:
    with AnswerStore(store, ACCOUNT) as answers:
        answers.put([Stored(key(number), Cost(1, 1, 5), b"bought") for number in numbers])


def keys(store: Path) -> set[str]:
    return {answer.key for answer in read_answers(store)}


def test_jobs_buy_at_the_same_time_and_all_have_it_afterwards(tmp_path: Path) -> None:
    shared = tmp_path / "answers"

    def job(number: int) -> None:
        with own_answers(tmp_path / f"own{number}", shared) as own:
            buy(own, number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(job, range(8)))
    assert keys(shared) == {key(number) for number in range(8)}
    with own_answers(tmp_path / "late", shared) as own:
        assert keys(own) == keys(shared)


def test_what_was_bought_is_given_also_by_a_job_that_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), own_answers(tmp_path / "own", tmp_path / "all") as own:
        buy(own, 1)
        raise KeyboardInterrupt
    assert keys(tmp_path / "all") == {key(1)}


def test_a_store_that_is_held_for_long_costs_no_job_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    with (
        exclusive(tmp_path / "all", "answer store"),
        own_answers(tmp_path / "own", tmp_path / "all") as own,
    ):
        buy(own, 1)
    assert keys(tmp_path / "own") == {key(1)}
    assert "the answers stay with the job" in capsys.readouterr().err
