"""The stage: what it publishes, that the counts sum, what fails, and what a resume skips."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config
from mwalimu.curation.curate import curate
from mwalimu.curation.row import Row
from mwalimu.data.record import Message, Record
from mwalimu.errors import TooFewAnswers
from mwalimu.run import Run
from tests.curation.rows import accepted, answered, config, read

GOOD = [accepted(f"g{i}", f"It is number {i}.") for i in range(4)]
BAD = [
    accepted("b1", "It is.<|im_end|>"),
    accepted("b2", "I'm sorry, but I can't help with that."),
    accepted("b3", "many", task="math"),
]


def curated(job: Config, run: Run, **more: Any) -> dict[str, Any]:
    means: dict[str, Any] = {"gold": (), "ask": None, "stage_fingerprint": "f"}
    return curate(job, run, **(means | {"on_progress": lambda *_: None} | more))


def test_rows_go_on_or_are_rejected_with_their_reason(tmp_path: Path) -> None:
    run = answered(
        tmp_path, train=[BAD[0], *GOOD[:2], BAD[1], GOOD[2]], validation=[BAD[2], GOOD[3]]
    )
    summary = curated(config(tmp_path), run)
    assert read(run.path("curate", "train.jsonl")) == GOOD[:3]
    assert read(run.path("curate", "validation.jsonl")) == GOOD[3:]
    rejects = {one["id"]: one for one in read(run.path("curate", "rejects.jsonl"))}
    assert {row_id: one["check"] for row_id, one in rejects.items()} == {
        "b1": "special_tokens",
        "b2": "refusal",
        "b3": "number",
    }
    named = {
        "check": "special_tokens",
        "reason": "a mark of a chat template",
        "value": "<|im_end|>",
    }
    assert rejects["b1"] == BAD[0] | named
    removed = {"special_tokens: a mark of a chat template": 1, "refusal: the teacher declines": 1}
    assert json.loads(run.path("curate", "funnel.json").read_bytes()) == {
        "splits": {
            "train": {"in": 5, "out": 3, "removed": removed},
            "validation": {"in": 2, "out": 1, "removed": {"number: no number": 1}},
        }
    }
    assert summary["in"] == 7 and summary["out"] == 4 and sum(summary.values()) == 7 + 4 + 3
    state = Run(tmp_path).require("curate")
    assert set(state.files) == {
        f"curate/{name}"
        for name in ("train.jsonl", "validation.jsonl", "rejects.jsonl", "funnel.json")
    }
    assert state.fingerprint == "f"


def test_where_nothing_is_rejected_the_bytes_are_those_of_stage_one(tmp_path: Path) -> None:
    run = answered(tmp_path, train=GOOD)
    path = run.path("generate", "train.jsonl")
    path.write_bytes(
        path.read_bytes().replace(b'": "', b'":   "').replace(b"It is", b"\\u0049t is")
    )
    run.finish("generate", "g", [path], {})
    curated(config(tmp_path), run)
    assert run.path("curate", "train.jsonl").read_bytes() == path.read_bytes()
    assert run.path("curate", "rejects.jsonl").read_bytes() == b""
    assert list(run.learned().values()) == [run.path("curate", "train.jsonl")]


def test_the_first_check_of_the_config_names_the_reject(tmp_path: Path) -> None:
    both = accepted("x", "I can't help with that.</s>")
    for order in (["refusal", "special_tokens"], ["special_tokens", "refusal"]):
        run = answered(tmp_path / order[0], train=[both, *GOOD])
        curated(config(tmp_path, {"checks": order}), run)
        assert read(run.path("curate", "rejects.jsonl"))[0]["check"] == order[0]


def test_too_few_is_one_line_and_publishes_no_stage(tmp_path: Path) -> None:
    run = answered(tmp_path, train=[*BAD, GOOD[0]])
    with pytest.raises(
        TooFewAnswers, match=r"25.0% of the answers .* 50.0% are asked for"
    ) as error:
        curated(config(tmp_path), run)
    assert "rejects.jsonl" in error.value.where and "\n" not in str(error.value)
    assert len(read(run.path("curate", "rejects.jsonl"))) == 3
    assert Run(tmp_path).stage("curate") is None
    assert curated(config(tmp_path, {"min_ok": 0.25}), run)["out"] == 1


def test_samples_behind_a_kept_one_are_no_loss(tmp_path: Path) -> None:
    samples = [accepted(f"a#{i}", "#### 3", task="math") for i in range(5)]
    job = config(
        tmp_path, {"consistency": {"min_agreement": 0.6}, "min_ok": 1.0}, generate={"samples": 5}
    )
    run = answered(tmp_path, train=samples)
    assert curated(job, run) == {"in": 5, "out": 1, "consistency: another sample is kept": 4}


def test_gold_labels_come_from_the_labelled_rows_and_from_stage_one(tmp_path: Path) -> None:
    gold = [
        Record(f"l{i}", "classification", (Message("user", "x"),), ("refund", "repair")[i % 2])
        for i in range(100)
    ]
    rows = [
        accepted("a", "Refund.", task="classification"),
        accepted("b", "delivery", task="classification"),
        accepted("c", "delivery", task="classification", reference="delivery"),
        accepted("d", "delivery", task="classification", reference="delivery"),
        accepted("e", "wonder", task="classification"),
        *(accepted(f"f{i}", "repair", task="classification") for i in range(4)),
    ]
    run = answered(tmp_path, train=rows)
    curated(config(tmp_path), run, gold=gold)
    assert [one["id"] for one in read(run.path("curate", "rejects.jsonl"))] == ["e"]


def test_the_judge_is_asked_what_the_other_checks_left(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(questions: Any) -> list[str]:
        asked.extend(one.id for one in questions)
        return ["Answer: 3" if one.id == "g1" else "Answer: 9" for one in questions]

    run = answered(tmp_path, train=[BAD[0], *GOOD])
    job = config(tmp_path, {"judge": {"teacher": {"model": "fake"}}})
    assert curated(job, run, ask=ask)["judge: scored too low"] == 1
    assert asked == ["g0", "g1", "g2", "g3"]


def test_every_answer_of_a_conversation_that_is_learned_is_checked() -> None:
    turns = [("user", "a"), ("assistant", "One</s>"), ("user", "b"), ("assistant", "Two.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    content = {"id": "x", "task": "conversation", "messages": messages, "reference": "Two."}
    whole = Row.of(json.dumps(content | {"learn": "all"}).encode())
    assert [(one.text, one.prompt, one.reference) for one in whole.answers] == [
        ("One</s>", "a", None),
        ("Two.", "b", "Two."),
    ]
    assert [one.text for one in Row.of(json.dumps(content).encode()).answers] == ["Two."]
    call = content | {
        "messages": [*messages[:3], {"role": "assistant", "content": "", "tool_calls": []}]
    }
    assert Row.of(json.dumps(call).encode()).answers == ()
