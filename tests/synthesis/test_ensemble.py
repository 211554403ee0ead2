"""Several teachers: vote, mix, fallback, and what holds for every strategy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError, TeacherUnreachable
from mwalimu.synthesis.engine import Item
from mwalimu.synthesis.ensemble import build_ensemble
from mwalimu.synthesis.ensemble.base import Ensemble, distinct
from mwalimu.synthesis.ensemble.single import share_of
from mwalimu.synthesis.job import Job
from mwalimu.teachers.base import Completion, Request, RowError
from tests.synthesis.scripted import (
    Scripted,
    Stage,
    by_question,
    config_of,
    rows,
    says,
    texts,
)

REFUSAL = says("", finish_reason="refusal")


def call(city: str, identifier: str) -> Completion:
    function = {"name": "find", "arguments": f'{{"city": "{city}"}}'}
    return says("", tool_calls=({"id": identifier, "type": "function", "function": function},))


@pytest.mark.parametrize(
    ("task", "answers", "taken", "agreement"),
    [
        ("nli", ("neutral", "Entailment.", "entailment"), "Entailment.", 2 / 3),
        ("nli", ("neutral", "entailment", "contradiction"), "neutral", 1 / 3),
        ("math", ("It is 41", "so 42", "$42.00"), "so 42", 2 / 3),
        ("math", ("It is 42", "1/2", "#### 0.5"), "1/2", 2 / 3),
        ("classification", ("C++", "c#", "C#."), "c#", 2 / 3),
        ("qa", ("Paris", "The Nile!", "nile"), "The Nile!", 2 / 3),
        ("generic", ("b", "a", "a"), "a", 2 / 3),
        ("my own task", ("b", "a", "a"), "a", 2 / 3),
        ("nli", ("neutral", "none of them", "a word"), "neutral", 1 / 3),
        ("generic", (REFUSAL, "b", "a"), "b", 1 / 3),
        ("generic", ("b", call("Rome", "1"), call("Rome", "2")), "", 2 / 3),
        ("generic", ("b", call("Rome", "1"), call("Oslo", "1")), "b", 1 / 3),
    ],
)
def test_vote(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    answers: tuple[Any, ...],
    taken: str,
    agreement: float,
) -> None:
    teachers = [Scripted(name, said) for name, said in zip("abc", answers, strict=True)]
    stage = Stage(tmp_path, monkeypatch, *teachers)
    (row,), _ = stage.run(config_of(tmp_path, teachers, "vote"), rows("q", task=task))
    assert texts([row]) == [taken]
    told = row["teacher"]
    assert told["strategy"] == "vote"
    assert told["agreement"] == pytest.approx(agreement, abs=1e-4)
    assert [one["model"] for one in told["asked"]] == ["a", "b", "c"]
    assert all(one["request_key"] for one in told["asked"])
    chosen = {one["request_key"]: one["model"] for one in told["asked"]}
    assert chosen[told["request_key"]] == told["model"]


def test_a_vote_is_on_the_answer_not_on_the_reasoning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the reasoning."""
    said = ("9 apples\nAnswer: 3", "4 and 3\nAnswer: 7", "it was 3 before\nAnswer: 7.0")
    for number, rationale in enumerate(("keep", "drop", "mix")):
        teachers = [Scripted(name, text) for name, text in zip("abc", said, strict=True)]
        stage = Stage(tmp_path / rationale, monkeypatch, *teachers)
        settings = {"chain_of_thought": True, "rationale": rationale}
        config = config_of(tmp_path, teachers, "vote", task="math", generate=settings)
        (row,), _ = stage.run(config, rows("q", task="math"))
        assert row["teacher"]["model"] == "b"
        expected = ("7", "7", "4 and 3\nAnswer: 7")[number]
        assert texts([row]) == [expected]


def test_json_answers_agree_whatever_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastjsonschema")
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    said = ('{"a": 1}', '{"a": 1, "b": 2.5}', '{"b":2.5,\n"a":1}')
    teachers = [Scripted(name, text) for name, text in zip("abc", said, strict=True)]
    for teacher in teachers:
        object.__setattr__(teacher.capabilities, "schema", True)
    settings = {"json_schema": str(tmp_path / "schema.json")}
    config = config_of(tmp_path, teachers, "vote", generate=settings)
    (row,), _ = Stage(tmp_path, monkeypatch, *teachers).run(config, rows("q"))
    assert row["teacher"]["model"] == "b"


def test_free_text_has_no_vote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = [Scripted("a", REFUSAL), Scripted("b", "x"), Scripted("c", "x")]
    stage = Stage(tmp_path, monkeypatch, *teachers)
    with pytest.raises(ConfigError, match="no majority"):
        stage.run(config_of(tmp_path, teachers, "vote", task="summarization"), rows("q"))
    # A row of such a task among others: the first that answered.
    config = config_of(tmp_path, teachers, "vote")
    (row,), _ = stage.run(config, rows("q", task="summarization"))
    assert (row["teacher"]["model"], row["teacher"]["agreement"]) == ("b", None)


def test_mix_keeps_the_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = [Scripted(name, name) for name in "abc"]
    stage = Stage(tmp_path, monkeypatch, *teachers)
    records = rows(*[f"q{i}" for i in range(400)])
    config = config_of(tmp_path, teachers, "mix", weights=(3, 0, 1))
    accepted, _ = stage.run(config, records)
    count = Counter(texts(accepted))
    assert count["b"] == 0 and 270 <= count["a"] <= 330
    assert [len(row["teacher"]["asked"]) for row in accepted] == [1] * 400
    # A row's teacher depends on its id alone.
    stage.run(config, records[::-1], "reversed")
    there, back = stage.read("run", "train"), stage.read("reversed", "train")
    assert there == back[::-1]


def test_equal_shares_and_their_ends() -> None:
    count = Counter(share_of(f"row {i}", (1.0, 1.0)) for i in range(1000))
    assert 440 <= count[0] <= 560
    assert {share_of(f"row {i}", (0.0, 1e-300, 0.0)) for i in range(50)} == {1}


@pytest.mark.parametrize("weights", [(0, 0), (1, -1), (1, float("inf")), (1, float("nan"))])
def test_weights_that_are_no_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: tuple[float, float]
) -> None:
    teachers = [Scripted(name, name) for name in "ab"]
    config = config_of(tmp_path, teachers, "mix", weights=weights)
    with pytest.raises(ConfigError, match="no shares"):
        Stage(tmp_path, monkeypatch, *teachers).run(config, rows("q"))


def test_fallback_takes_the_first_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(request: Request) -> str:
        raise RowError("too long")

    a = Scripted("a", by_question({"1": "from a", "2": REFUSAL, "3": REFUSAL, "4": REFUSAL}))
    b = Scripted("b", by_question({"2": "from b", "3": " ", "4": " "}))
    c = Scripted("c", lambda r: "from c" if r.messages[-1].content == "3" else too_long(r))
    stage = Stage(tmp_path, monkeypatch, a, b, c)
    config = config_of(tmp_path, [a, b, c], "fallback")
    accepted, (rejected,) = stage.run(config, rows("1", "2", "3", "4"))
    assert texts(accepted) == ["from a", "from b", "from c"]
    asked = [[(x["model"], x["status"]) for x in r["teacher"]["asked"]] for r in accepted]
    assert asked[2] == [("a", "refused"), ("b", "invalid"), ("c", "ok")]
    assert [len(one) for one in asked] == [1, 2, 3]
    assert (len(a.asked), len(b.asked), len(c.asked)) == (4, 3, 2)
    # Nobody: the first one's outcome, with everybody's reason.
    assert rejected["status"] == "refused"
    assert rejected["reason"] == (
        "a: refused (the teacher refused); b: invalid (the answer is empty); c: failed (too long)"
    )
    assert [one["status"] for one in rejected["teacher"]["asked"]] == [
        "refused",
        "invalid",
        "failed",
    ]


def test_fallback_outlives_its_first_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(request: Request) -> str:
        raise TeacherUnreachable("no answer for 300 s", where="a")

    a, b = Scripted("a", away, concurrency=1), Scripted("b", "from b", latency_s=0.005)
    stage = Stage(tmp_path, monkeypatch, a, b)
    config = config_of(tmp_path, [a, b], "fallback")
    accepted, _ = stage.run(config, rows(*"123456"))
    assert texts(accepted) == ["from b"] * 6
    assert accepted[-1]["teacher"]["asked"][0]["status"] == "failed"
    asked = len(a.asked)
    stage.run(config_of(tmp_path, [b, a], "fallback"), rows(*"123456"), "second")
    assert len(a.asked) == asked
    with pytest.raises(TeacherUnreachable):  # nobody is left
        c = Scripted("c", away)
        Stage(tmp_path / "c", monkeypatch, a, c).run(
            config_of(tmp_path, [a, c], "fallback"), rows("1")
        )


def test_an_error_stops_the_other_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(request: Request) -> str:
        raise TeacherUnreachable("gone", where="b")

    slow, b = Scripted("a", "x", latency_s=60), Scripted("b", gone)
    stage = Stage(tmp_path, monkeypatch, slow, b)
    with pytest.raises(TeacherUnreachable):
        stage.run(config_of(tmp_path, [slow, b], "vote"), rows(*"1234"))
    assert slow.asked and not slow.bought


def test_a_conversation_and_a_draw_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = [Scripted(name, lambda r: f"{len(r.messages)}") for name in "ab"]
    messages = (Message("user", "1"), Message("assistant", "gold"), Message("user", "2"))
    settings = {"conversation": "relabel"}
    config = config_of(tmp_path, teachers, "vote", generate=settings)
    stage = Stage(tmp_path, monkeypatch, *teachers)
    (row,), _ = stage.run(config, [Record("r0", "generic", messages)])
    assert [m["content"] for m in row["messages"]] == ["1", "1", "2", "3"]
    told = row["teacher"]
    assert (told["strategy"], told["turns"]) == ("vote", 2)
    assert told["earlier"][0]["agreement"] == 1.0


def test_the_same_model_twice_is_two_members() -> None:
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_members_that_cannot_differ_between_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = [Scripted(name, name) for name in "ab"]
    config = config_of(tmp_path, teachers, "vote", temperature=0.7, generate={"samples": 2})
    assert config.ensemble is not None
    others = (config.ensemble.others[0].model_copy(update={"temperature": 0.0}),)
    ensemble = config.ensemble.model_copy(update={"others": others})
    with pytest.raises(ConfigError, match=r"ensemble\.others\.0\.temperature"):
        Stage(tmp_path, monkeypatch, *teachers).run(
            config.model_copy(update={"ensemble": ensemble}), rows("q")
        )


def test_notes_tell_whose_answers_were_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = Scripted("a", by_question({"1": "x", "2": REFUSAL})), Scripted("b", "y")
    config = config_of(tmp_path, [a, b], "fallback")

    async def work(job: Job) -> None:
        ensemble = build_ensemble(job)
        assert isinstance(ensemble, Ensemble)
        await ensemble.prepare([])
        outcomes = [o async for o in job.engine(ensemble).run(map(Item, rows("1", "2")))]
        assert [o.text for o in outcomes] == ["x", "y"]
        assert ensemble.notes() == {"strategy": "fallback", "taken": {"a": 1, "b": 1}}

    Stage(tmp_path, monkeypatch, a, b).with_job(config, work)
