"""Each method against a real server; the counts sum, and every prompt tells where it is from."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, build_config
from mwalimu.data.dataset import load_records
from mwalimu.errors import BudgetReached, ConfigError, DataError, TooFewAnswers
from mwalimu.run import Run
from mwalimu.synthesis.prompts import synthesise
from mwalimu.synthesis.prompts.pool import similarity, words_of
from mwalimu.teachers.fake import FakeTeacher
from tests.synthesis.prompts.writer_server import WriterServer

SEEDS = ("Where is my order 4417?", "I was charged twice. What now?", "Can I return worn shoes?")
TEXT = "The mill stands at the river and it has been there for two hundred years or more."
SOURCES: dict[str, dict[str, Any]] = {
    "self_instruct": {"seeds": "seeds.jsonl"},
    "evolve": {"seeds": "seeds.jsonl", "rounds": 6},
    "personas": {"personas": "people.txt", "topics": ["returns", "money"]},
    "documents": {"documents": "docs"},
    "conversations": {"seeds": "seeds.jsonl"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    system = {"role": "system", "content": "Be brief."}
    rows = [
        {"id": f"s{i}", "messages": [system, {"role": "user", "content": text}]}
        for i, text in enumerate(SEEDS)
    ]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "people.txt").write_text("A nurse\nA baker\nA driver\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "mill.txt").write_text(f"{TEXT}\n\n{TEXT.replace('mill', 'barn')}")
    return tmp_path


def config_of(folder: Path, url: str, method: str, rows: int = 10, **raw: Any) -> Config:
    teacher = {"model": "tiny", "base_url": url, "temperature": 0.7} | raw.pop("teacher", {})
    prompts = {"method": method, "rows": rows, "chunk_words": 20} | SOURCES[method]
    base = {"task": "generic", "teacher": teacher, "student": {"model": "none"}}
    return build_config(base | {"prompts": prompts | raw.pop("prompts", {})} | raw, base=folder)


def make(config: Config, folder: Path, life: str = "run", **named: Any) -> dict[str, Any]:
    return synthesise(
        config,
        Run(folder / life),
        folder / "answers",
        stage_fingerprint="f",
        on_progress=lambda *_: None,
        **named,
    )


def rows(folder: Path, name: str = "train", life: str = "run") -> list[dict[str, Any]]:
    lines = (folder / life / "prompts" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("method", SOURCES)
def test_every_method(folder: Path, method: str) -> None:
    with WriterServer() as server:
        ledger = make(config_of(folder, server.url, method), folder)
    made, rejects, counts = rows(folder), rows(folder, "rejects"), ledger["prompts"]
    assert counts["accepted"] == len(made) == counts["wanted"] == 10
    assert counts["stopped"] == "all rows are there"
    assert counts["found"] == counts["accepted"] + sum(counts["rejected"].values())
    assert counts["rejected"] == dict(Counter(row["status"] for row in rejects))
    assert ledger["inputs"] == sum(ledger["outcomes"].values())
    assert all(count == 1 for count in server.asked.values())
    assert [row["id"] for row in made] == [f"prompt-{i:06d}" for i in range(1, 11)]
    records = load_records(folder / "run/prompts/train.jsonl", task="generic", split="train")
    assert all(record.reference is None for record in records)
    for row in made:
        origin = row["metadata"]["synthesis"]
        assert origin["method"] == method and len(origin["request_key"]) == 64


def test_self_instruct_shows_examples_and_keeps_their_system_turn(folder: Path) -> None:
    with WriterServer() as server:
        config = config_of(folder, server.url, "self_instruct", rows=60, prompts={"examples": 4})
        ledger = make(config, folder)
    assert ledger["prompts"]["rounds"] > 1
    texts = dict(zip((f"s{i}" for i in range(3)), SEEDS, strict=True))
    texts |= {row["id"]: row["messages"][-1]["content"] for row in rows(folder)}
    by_seen = {body["messages"][1]["content"] for body in server.bodies}
    for row in rows(folder):
        assert row["messages"][0] == {"role": "system", "content": "Be brief."}
        origin = row["metadata"]["synthesis"]
        shown = [f"{n}. {texts[p]}" for n, p in enumerate(origin["parents"], 1)]
        assert "\n".join(shown) in by_seen
        later = [p for p in origin["parents"] if p.startswith("prompt")]
        assert len(later) == (1 if origin["round"] else 0)  # one example in four is its own
    limits = [words_of(text) for text in texts.values()]
    pairs = [(a, b) for i, a in enumerate(limits) for b in limits[:i]]
    assert max(similarity(a, b) for a, b in pairs[3:]) <= 0.7


def test_evolution_goes_down_the_line(folder: Path) -> None:
    with WriterServer() as server:
        make(config_of(folder, server.url, "evolve", rows=9), folder)
    newest = {0: "s0", 1: "s1", 2: "s2"}
    ways = set()
    for row in rows(folder):
        origin = row["metadata"]["synthesis"]
        assert origin["parents"] == [newest[origin["line"]]]
        newest[origin["line"]] = row["id"]
        ways.add(origin["way"])
        assert row["messages"][-1]["content"].startswith("Please ")  # the label is gone
    assert len(ways) > 1
    assert server.bodies[0]["messages"][1]["content"] == SEEDS[0]


def test_personas_come_with_topics(folder: Path) -> None:
    with WriterServer() as server:
        make(config_of(folder, server.url, "personas", rows=20), folder)
    asked = [body["messages"][1]["content"] for body in server.bodies]
    assert "A nurse\nTopic: returns" in asked and "A baker\nTopic: money" in asked
    origins = [row["metadata"]["synthesis"] for row in rows(folder)]
    assert {(o["persona"], o["topic"]) for o in origins} >= {("A nurse", "returns")}


def test_documents_keep_passage_and_span(folder: Path) -> None:
    with WriterServer() as server:
        make(config_of(folder, server.url, "documents", rows=6), folder)
    text = (folder / "docs" / "mill.txt").read_text()
    for row in rows(folder):
        origin = row["metadata"]["synthesis"]
        start, end = origin["span"]
        assert origin["document"] == "mill.txt"
        content = row["messages"][-1]["content"]
        assert content.startswith(f"Context: {text[start:end]}\n\nQuestion: Please ")


def test_summaries_ask_nobody(folder: Path) -> None:
    with WriterServer() as server:
        config = config_of(folder, server.url, "documents", task="summarization")
        ledger = make(config, folder)
        assert not server.bodies
    counts = ledger["prompts"]
    assert (counts["accepted"], counts["rejected"]) == (1, {"similar": 1})
    assert counts["stopped"] == "nothing is left to ask"
    (row,) = rows(folder)
    assert row["messages"][-1]["content"] == f"Summarise the following text.\n\n{TEXT}"
    assert row["task"] == "summarization"


def test_conversations_end_with_the_user(folder: Path) -> None:
    with WriterServer() as server:
        config = config_of(folder, server.url, "conversations", rows=3, generate={"turns": 2})
        make(config, folder)
    for seed, row in zip(SEEDS, rows(folder), strict=True):
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
        assert row["messages"][1]["content"] == seed


def test_openings_are_asked_for_where_there_are_no_seeds(folder: Path) -> None:
    sources = {"seeds": None, "personas": "people.txt"}
    with WriterServer() as server:
        config = config_of(folder, server.url, "conversations", rows=2, prompts=sources)
        make(config, folder)
    for persona, row in zip(("A nurse", "A baker"), rows(folder), strict=True):
        assert row["metadata"]["synthesis"]["persona"] == persona
        assert row["messages"][0]["content"].startswith("Please ")
        assert row["messages"][-1]["role"] == "user"


def test_what_is_rejected_and_why(folder: Path) -> None:
    answers = (
        "1. Where is my order 4417!\n2. Lamp\n3. Name a river\n4. name a RIVER\n5. Name a hill"
    )
    config = config_of(folder, "http://localhost:1", "self_instruct", rows=1)
    ledger = make(config, folder, teacher=FakeTeacher(lambda request: answers))
    found = [(row["status"], row["reason"]) for row in rows(folder, "rejects")]
    assert found == [
        ("similar", "1.00 like s0"),
        ("unfit", "is one word"),
        ("surplus", "all rows are there"),
        ("surplus", "all rows are there"),
    ]
    assert ledger["prompts"]["rejected"] == {"similar": 1, "surplus": 2, "unfit": 1}


def test_answers_that_are_no_list_are_rejects_too(folder: Path) -> None:
    config = config_of(folder, "http://localhost:1", "evolve", rows=3)
    silent = FakeTeacher(lambda request: "" if "4417" in request.messages[1].content else "A b c d")
    ledger = make(config, folder, teacher=silent)
    empty, *_ = rows(folder, "rejects")
    assert (empty["request"], empty["status"]) == ("r0-00000", "invalid")
    assert ledger["outcomes"]["invalid"] == ledger["inputs"] - ledger["outcomes"]["ok"]


@pytest.mark.parametrize("method", SOURCES)
def test_a_teacher_that_answers_in_batches(folder: Path, method: str) -> None:
    """Groups of rows go in step; the prompts are those of a teacher that answers one by one."""
    config = config_of(folder, "http://localhost:1", method, rows=4)
    made = []
    for size in (1, 4):
        teacher = FakeTeacher(batch_size=size)
        synthesise(
            config,
            Run(folder / f"run{size}"),
            folder / f"answers{size}",
            stage_fingerprint="f",
            on_progress=lambda *_: None,
            teacher=teacher,
        )
        made.append(rows(folder, life=f"run{size}"))
    assert made[0] == made[1]


def test_it_stops_when_nothing_new_comes(folder: Path) -> None:
    config = config_of(folder, "http://localhost:1", "personas", rows=5)
    ledger = make(config, folder, teacher=FakeTeacher(lambda request: "Name a river"))
    assert ledger["prompts"]["accepted"] == 1
    assert ledger["prompts"]["stopped"] == "the last 10 requests brought no new prompt"
    assert ledger["inputs"] == 11
    few = config_of(folder, "http://localhost:1", "personas", rows=5, prompts={"rounds": 2})
    ledger = make(few, folder, "other", teacher=FakeTeacher(lambda request: "Name a river"))
    assert ledger["prompts"]["stopped"] == "all rounds are done"


def test_not_one_prompt_is_an_error(folder: Path) -> None:
    config = config_of(folder, "http://localhost:1", "personas")
    with pytest.raises(TooFewAnswers, match=r"rejects\.jsonl: no prompt was accepted"):
        make(config, folder, teacher=FakeTeacher(lambda request: "no"))
    assert Run(folder / "run").stage("prompts") is None


def test_the_budget_stops_it_and_more_of_it_goes_on(folder: Path) -> None:
    with WriterServer() as server:
        tight = config_of(folder, server.url, "self_instruct", 40, budget={"requests": 3})
        with pytest.raises(BudgetReached, match=r"budget\.requests"):
            make(tight, folder)
        assert len(server.bodies) == 3
        assert not (folder / "run" / "prompts" / "train.jsonl").exists()
        ledger = make(config_of(folder, server.url, "self_instruct", 40), folder)
        assert all(count == 1 for count in server.asked.values())
        assert ledger["answers_reused"] == 3
        make(config_of(folder, server.url, "self_instruct", 40), folder, "whole")
    assert rows(folder) == rows(folder, life="whole")


@pytest.mark.parametrize(
    ("prompts", "problem"),
    [
        ({"method": "self_instruct", "rows": 3}, "method self_instruct needs seeds or topics"),
        ({"method": "evolve", "rows": 3}, "method evolve needs seeds"),
        ({"method": "guess", "rows": 3}, "prompts.method: Input should be"),
        ({"method": "evolve", "rows": 0, "seeds": "s"}, "prompts.rows: Input should be greater"),
        ({"method": "evolve", "rows": 1, "seds": "s"}, "did you mean 'seeds'"),
    ],
)
def test_settings_that_cannot_be(folder: Path, prompts: Any, problem: str) -> None:
    raw = {"task": "generic", "teacher": {"model": "fake"}, "student": {"model": "none"}}
    with pytest.raises(ConfigError) as caught:
        build_config(raw | {"prompts": prompts}, base=folder)
    assert problem in str(caught.value)
    with pytest.raises(ConfigError, match=r"data\.train: is required, or a section prompts"):
        build_config(raw, base=folder)
    both = {"method": "evolve", "rows": 1, "seeds": "seeds.jsonl"}
    with pytest.raises(ConfigError, match=r"data\.train: contradicts prompts"):
        build_config(raw | {"prompts": both, "data": {"train": "x"}}, base=folder)


def test_bad_seeds_are_named_before_anything_is_asked(folder: Path) -> None:
    (folder / "seeds.jsonl").write_text('{"prompt": ""}\n')
    with WriterServer() as server:
        with pytest.raises(DataError, match=r"seeds\.jsonl:1: prompt: is empty"):
            make(config_of(folder, server.url, "evolve"), folder)
        assert not server.bodies
