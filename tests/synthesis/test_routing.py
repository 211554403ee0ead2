"""The best teacher of a task, and cheap teachers first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError
from mwalimu.synthesis.engine import Item
from mwalimu.synthesis.ensemble import build_ensemble
from mwalimu.synthesis.ensemble.best import ROWS_A_TASK
from mwalimu.synthesis.ensemble.route import confidence_of
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Completion, Request, TokenLogprob
from tests.synthesis.scripted import Script, Scripted, Stage, config_of, rows, says, texts


def gold(count: int, task: str, answer: str) -> list[Record]:
    return [
        Record(f"{task}{i}", task, (Message("user", f"{task} {i}"),), answer) for i in range(count)
    ]


def knows(task: str, answer: str, share: int) -> Script:
    """Right in `share` of 4 of the task's questions."""

    def script(request: Request) -> str:
        asked, _, number = request.messages[-1].content.partition(" ")
        return answer if asked == task and int(number) % 4 < share else "5 or so"

    return script


def outcomes_of(
    stage: Stage, config: Any, validation: list[Record], records: list[Record]
) -> tuple[list[Outcome], dict[str, Any]]:
    found: list[Outcome] = []
    notes: dict[str, Any] = {}

    async def work(job: Job) -> None:
        ensemble = build_ensemble(job)
        await ensemble.prepare(validation)
        found.extend([o async for o in job.engine(ensemble).run(map(Item, records))])
        notes.update(ensemble.notes())

    stage.with_job(config, work)
    return found, notes


@pytest.mark.parametrize("size", [1, 4])
def test_each_task_goes_to_its_best_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    a = Scripted("a", knows("math", "7", 3), latency_s=0.002, batch_size=size)
    b = Scripted("b", knows("qa", "Paris", 2), latency_s=0.002)
    c = Scripted("c", knows("qa", "Paris", 2), latency_s=0.002)
    validation = gold(8, "math", "#### 7") + gold(8, "qa", "paris") + rows("no gold", task="nli")
    records = gold(8, "math", "7")[:2] + gold(8, "qa", "p")[:2] + rows("generic 1")
    stage = Stage(tmp_path, monkeypatch, a, b, c)
    config = config_of(tmp_path, [a, b, c], "best")
    found, notes = outcomes_of(stage, config, validation, records)
    assert [o.provenance["asked"][0]["model"] for o in found] == ["a", "a", "b", "b", "a"]
    scores = [o.provenance["validation_score"] for o in found]
    assert scores == [0.75, 0.75, 0.5, 0.5, None]
    assert notes == {
        "strategy": "best",
        "taken": {"a": 3, "b": 2},
        "validation": {
            "math": {"rows": 8, "scores": {"a": 0.75, "b": 0, "c": 0}, "chosen": "a"},
            "qa": {"rows": 8, "scores": {"a": 0, "b": 0.5, "c": 0.5}, "chosen": "b"},
        },
    }
    # The comparison is bought once, and serves the rows themselves too.
    sent = len(a.asked) + len(b.asked) + len(c.asked)
    again, same_notes = outcomes_of(stage, config, validation, records)
    assert same_notes == notes and [o.text for o in again] == [o.text for o in found]
    assert len(a.asked) + len(b.asked) + len(c.asked) == sent
    assert len(b.asked) == 16


def test_what_is_no_answer_scores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = Scripted("a", says("7", finish_reason="length"))
    b = Scripted("b", knows("math", "7", 1))
    stage = Stage(tmp_path, monkeypatch, a, b)
    config = config_of(tmp_path, [a, b], "best")
    _, notes = outcomes_of(stage, config, gold(4, "math", "7"), [])
    assert notes["validation"]["math"]["scores"] == {"a": 0, "b": 0.25}


def test_so_many_rows_a_task_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Scripted("a", "7"), Scripted("b", "7")
    stage = Stage(tmp_path, monkeypatch, a, b)
    config = config_of(tmp_path, [a, b], "best")
    validation = gold(ROWS_A_TASK + 50, "math", "7") + gold(3, "qa", "7")
    _, notes = outcomes_of(stage, config, validation, [])
    assert {task: of["rows"] for task, of in notes["validation"].items()} == {
        "math": ROWS_A_TASK,
        "qa": 3,
    }
    assert len(a.asked) == ROWS_A_TASK + 3


def test_without_gold_answers_nobody_is_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = [Scripted("a", "x"), Scripted("b", "x")]
    stage = Stage(tmp_path, monkeypatch, *teachers)
    with pytest.raises(ConfigError, match="gold answer"):
        outcomes_of(stage, config_of(tmp_path, teachers, "best"), rows("q"), [])

    async def unprepared(job: Job) -> None:
        [o async for o in job.engine(build_ensemble(job)).run(map(Item, rows("q")))]

    with pytest.raises(RuntimeError, match="prepare"):
        stage.with_job(config_of(tmp_path, teachers, "best"), unprepared)


def unsure(*texts: str, logprob: float | None = None) -> Script:
    """Another text for every draw, all with the same probability."""

    def script(request: Request) -> Completion:
        logprobs = None if logprob is None else (TokenLogprob("x", logprob), TokenLogprob("y", 0.0))
        return says(texts[request.sample % len(texts)], logprobs=logprobs)

    return script


def routed(
    tmp_path: Path,
    patch: pytest.MonkeyPatch,
    teachers: list[Scripted],
    *,
    task: str = "generic",
    row_task: str = "",
    temperature: float = 0.7,
    **settings: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    config = config_of(tmp_path, teachers, "route", task=task, temperature=temperature, **settings)
    return Stage(tmp_path, patch, *teachers).run(config, rows("q", task=row_task or task))


def test_draws_that_agree_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap, dear = Scripted("cheap", unsure("The answer", "answer!", "Answer")), Scripted("dear", "")
    (row,), _ = routed(tmp_path, monkeypatch, [cheap, dear], draws=3)
    assert texts([row]) == ["The answer"] and not dear.asked
    assert [one["model"] for one in row["teacher"]["asked"]] == ["cheap"] * 3
    assert "escalated_because" not in row["teacher"]
    assert [request.sample for request in cheap.asked] == [0, 1, 2]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (unsure("x", "y"), "the draws disagree"),
        (unsure("x", ""), "invalid"),
        (lambda _: says("x", finish_reason="refusal"), "refused"),
    ],
)
def test_doubt_goes_up_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, why: str
) -> None:
    cheap, middle = Scripted("cheap", script), Scripted("middle", "fine")
    dear = Scripted("dear", "dear")
    (row,), _ = routed(tmp_path, monkeypatch, [cheap, middle, dear])
    assert texts([row]) == ["fine"] and not dear.asked
    assert row["teacher"]["escalated_because"] == [why]
    assert [one["model"] for one in row["teacher"]["asked"]] == ["cheap"] * 2 + ["middle"] * 2
    assert row["teacher"]["request_key"] == middle.asked[0].key


def test_the_last_one_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [Scripted("a", unsure("x", "y")), Scripted("b", unsure("u", "v"))]
    last = Scripted("c", unsure("1", "2"))
    (row,), _ = routed(tmp_path / "1", monkeypatch, [*chain, last])
    assert texts([row]) == ["1"] and len(last.asked) == 1
    assert row["teacher"]["escalated_because"] == ["the draws disagree"] * 2
    # A doubtful answer is none, even where there is no better one.
    accepted, (row,) = routed(tmp_path / "2", monkeypatch, [*chain, Scripted("c", " ")])
    assert not accepted and row["status"] == "invalid"
    assert row["reason"] == "a: ok; a: ok; b: ok; b: ok; c: invalid (the answer is empty)"
    # Nobody has one: the first one's outcome.
    chain = [Scripted("a", says("", finish_reason="refusal")), Scripted("b", "")]
    accepted, (row,) = routed(tmp_path / "3", monkeypatch, chain)
    assert not accepted and row["status"] == "refused"


def test_samples_draw_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap, dear = Scripted("cheap", "x"), Scripted("dear", "y")
    accepted, _ = routed(tmp_path, monkeypatch, [cheap, dear], draws=2, generate={"samples": 3})
    assert len(accepted) == 3
    assert sorted(request.sample for request in cheap.asked) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("logprob", "wanted", "why"),
    [
        (2 * math.log(0.5), 0.5, None),  # and a token of probability 1: the mean is 0.5
        (2 * math.log(0.5), 0.51, "confidence 0.5000"),
        (-math.inf, 0.1, "confidence 0.0000"),
        (math.nan, 0.1, "confidence nan"),
        (None, 0.1, "no log-probabilities came"),
    ],
)
def test_confidence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logprob: float | None,
    wanted: float,
    why: str | None,
) -> None:
    cheap = Scripted("cheap", unsure("x", logprob=logprob), top_logprobs=5)
    dear = Scripted("dear", "y")
    (row,), _ = routed(tmp_path, monkeypatch, [cheap, dear], temperature=0.0, min_confidence=wanted)
    assert texts([row]) == (["x"] if why is None else ["y"])
    assert row["teacher"].get("escalated_because") == (None if why is None else [why])
    # At temperature 0 one draw says all; probabilities are asked of those put to the test only.
    assert [request.sampling.top_logprobs for request in cheap.asked] == [1]
    assert all(request.sampling.top_logprobs == 0 for request in dear.asked)


def test_confident_draws_still_have_to_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = Scripted("cheap", unsure("x", "y", logprob=0.0), top_logprobs=1)
    dear = Scripted("dear", "z")
    (row,), _ = routed(tmp_path / "1", monkeypatch, [cheap, dear], min_confidence=0.9)
    assert row["teacher"]["escalated_because"] == ["the draws disagree"]
    # Free texts never do, so their probability decides alone.
    (row,), _ = routed(
        tmp_path / "2", monkeypatch, [cheap, dear], min_confidence=0.9, task="summarization"
    )
    assert texts([row]) == ["x"] and len(row["teacher"]["asked"]) == 1


def test_a_row_that_nothing_can_be_said_of_goes_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap, dear = Scripted("cheap", "x"), Scripted("dear", "y")
    (row,), _ = routed(tmp_path, monkeypatch, [cheap, dear], row_task="conversation")
    assert texts([row]) == ["y"] and not cheap.asked
    assert row["teacher"]["escalated_because"] == [
        "answers of task conversation cannot be compared"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, r"teacher\.temperature.*all draws are the same"),
        ({"draws": 1}, "nothing to doubt"),
        ({"task": "summarization"}, "never agree"),
        ({"min_confidence": 0.5}, "reports no log-probabilities"),
    ],
)
def test_settings_that_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    teachers = [Scripted("cheap", "x"), Scripted("dear", "y")]
    with pytest.raises(ConfigError, match=message):
        routed(tmp_path, monkeypatch, teachers, **settings)
    assert not teachers[0].asked


def test_no_tokens_have_no_confidence() -> None:
    assert confidence_of(None) is None
    assert confidence_of(says("x")) is None
    assert confidence_of(says("x", logprobs=())) is None
