"""The customer service: its conversations, its grown teacher, two steps of it, its table."""

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mwalimu.pipeline import Pipeline
from mwalimu.quickstart.world import ADJECTIVES, NOUNS, RETURN_DAYS
from recipes import material
from tests.tiny import make_tiny_model

RECIPE = Path(__file__).parents[2] / "recipes" / "customer-service"
FILES = ("conversations", "teacher", "job", "servers", "measure", "table", "turns")


def imported() -> list[Any]:
    """The recipe's files, which import each other by name; nobody else sees those names."""
    sys.path.insert(0, str(RECIPE))
    before = {name: sys.modules.pop(name) for name in FILES if name in sys.modules}
    try:
        return [importlib.import_module(name) for name in FILES]
    finally:
        sys.path.remove(str(RECIPE))
        for name in FILES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


conversations, teacher, job, servers, measure, table, turns = imported()
generate_conversations = conversations.generate_conversations

PRODUCT = re.compile(rf"\b({'|'.join(ADJECTIVES)}) ({'|'.join(NOUNS)})\b")
POLICY = re.compile(r"A (\w+) can come back for (\d+) days\.")
TOLD = re.compile(r"(?:It is |order |Order )(\d{3})\D+(\d+) days ago")
DECIDED = re.compile(r"Order (\d{3}) is (within|past) (\d+) days: (you get a|we offer a repair)")


def texts(row: dict[str, Any]) -> list[str]:
    return [message["content"] for message in row["messages"]]


def test_conversations_differ_and_end_after_every_number_of_exchanges() -> None:
    rows = generate_conversations("train", 600)
    assert len({"\n".join(texts(row)[:-1]) for row in rows}) == 600
    assert {len(row["messages"]) // 2 for row in rows} == set(conversations.EXCHANGES)
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)
    assert rows[:50] == generate_conversations("train", 50)
    assert rows[:50] != generate_conversations("teacher", 50)


def test_no_product_is_on_two_sides() -> None:
    named = {
        split: {match for row in rows for match in PRODUCT.findall(" ".join(texts(row)))}
        for split in ("teacher", "train", "validation", "test")
        if (rows := generate_conversations(split, 300))
    }
    assert not (named["train"] | named["teacher"]) & named["test"]
    assert not (named["train"] | named["teacher"]) & named["validation"]
    assert not named["validation"] & named["test"]


def test_gold_answers_follow_from_the_policy_and_what_was_said() -> None:
    decided = 0
    for row in generate_conversations("test", 400):
        said = " ".join(texts(row))
        ages = {order: int(age) for order, age in TOLD.findall(said)}
        assert all(int(days) == RETURN_DAYS[noun] for noun, days in POLICY.findall(said))
        for order, word, window, granted in DECIDED.findall(said):
            decided += 1
            assert (ages[order] <= int(window)) == (word == "within")
            assert granted.startswith("you get") == (word == "within")
    assert decided > 400


def test_a_grown_teacher_says_the_same_and_its_new_blocks_learn(tmp_path: Path) -> None:
    small, large = make_tiny_model(tmp_path / "small", spread=0.3), tmp_path / "large"
    teacher.grow(small, large, copies=2)
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (small, large))
    ids = torch.arange(5, 21)[None]
    assert torch.equal(before(ids).logits, after(ids).logits)
    assert len(after.model.layers) == 3 * len(before.model.layers)
    after(ids, labels=ids).loss.backward()
    added = after.model.layers[1]
    assert added.self_attn.o_proj.weight.grad.abs().max() > 0
    assert added.mlp.down_proj.weight.grad.abs().max() > 0
    assert (large / "tokenizer.json").exists()


def test_it_is_a_teacher_twenty_times_the_student() -> None:
    """What `grow` makes of the shipped teacher, counted from the shapes."""
    shapes = {
        name: json.loads((teacher.shipped(name) / "config.json").read_bytes())
        for name in ("teacher", "student")
    }
    blocks = shapes["teacher"]["num_hidden_layers"] * (1 + teacher.COPIES)
    hidden, inner = (shapes["teacher"][key] for key in ("hidden_size", "intermediate_size"))
    large = blocks * (4 * hidden**2 + 3 * hidden * inner)  # without embeddings and norms
    small = AutoModelForCausalLM.from_pretrained(teacher.shipped("student")).num_parameters()
    assert large / small > 20


def test_two_steps_of_the_job(tmp_path: Path) -> None:
    config = job.write_job(tmp_path, teacher.shipped("teacher"), rows=32, test_rows=4, epochs=1)
    asked = [json.loads(line) for line in (tmp_path / "data/train.jsonl").read_text().splitlines()]
    assert all(row["messages"][-1]["role"] == "user" for row in asked)
    assert job.STUDENT_EXPORT in {target.name for target in config.export.targets}
    pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "answers")
    assert pipeline.generate()["outcomes"]["ok"] == 32 + 8
    pipeline.curate()
    assert pipeline.finetune()["steps"] == 2


@pytest.mark.slow
def test_a_server_is_asked_and_watched_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = teacher.shipped("student")
    arm = servers.Arm("student", student, 242_688, 0.93)
    chats = [row["messages"][:-1] for row in generate_conversations("test", 4)]
    monkeypatch.setattr(measure, "LADDER", (1, 2))
    effort = measure.Effort(rows=2, rounds=1, requests=4)
    found = measure.measure([arm], chats, effort, tmp_path, lambda *_: None)
    of = found["arms"]["student"]
    assert len(of["latency"]["clock_s"]) == len(of["latency"]["cpu_s"]) == 2
    # A server of one model thread has spent processor time on an answer.
    assert all(seconds > 0 for seconds in of["latency"]["cpu_s"])
    assert of["load"][0]["per_s"] > 0 and of["load"][0]["cpu_s"] > 0
    assert of["within"][0]["clients"] in measure.LADDER
    assert of["peak_mib"] >= of["loaded_mib"] > 50
    assert of["peak_mib"] > of["alone_mib"] > 0


def arm_of(seconds: float, weights: float, peak: float) -> dict[str, Any]:
    rounds = [{"clients": 8, "per_s": f / seconds, "p95_s": 1, "cpu_s": seconds} for f in (1, 1.1)]
    return {
        "parameters": 1,
        "weights_mib": weights,
        "alone_mib": peak / 2,
        "peak_mib": peak,
        "latency": {"clock_s": [seconds, 2 * seconds], "cpu_s": [seconds, seconds]},
        "load": rounds,
        "within": rounds,
    }


def test_goals_are_met_missed_or_not_sure(tmp_path: Path) -> None:
    measured = {
        "bound_p95_s": 0.1,
        "cores": 2,
        "load_average": 0.5,
        "arms": {"large": arm_of(0.4, 100, 500), "small": arm_of(0.01, 1, 100)},
    }
    scores = {"large": [1.0] * 95 + [0.0] * 5, "small": [0.0] + [1.0] * 94 + [0.0] * 5}
    text = table.write_table(
        tmp_path,
        measured,
        scores,
        {"rows": 100},
        pairs=[("large", "small")],
        usd_per_core_hour=0.04,
    )
    found = json.loads((tmp_path / "table.json").read_text())["goals"]["small against large"]
    goals = {goal["name"]: goal for goal in found}
    assert goals["latency less, by the clock"]["found"] == pytest.approx(97.5)
    assert goals["latency less, by the clock"]["verdict"] == "met"
    assert goals["memory less, weights"]["verdict"] == "met"
    assert goals["memory less, the whole server"]["verdict"] == "missed"
    assert goals["accuracy kept"]["found"] == pytest.approx(100 * 94 / 95)
    assert goals["accuracy kept"]["verdict"] == "met, not surely"
    assert goals["cost less"]["found"] == pytest.approx(97.5)
    assert goals["the same of one core's time"]["found"] == pytest.approx(40)
    assert (tmp_path / "table.md").read_text() == text + "\n"
    assert "| 671B | 14B |" in text and "missed |" in text


def test_each_answer_of_a_real_conversation_is_a_row_with_the_turns_that_fit(
    tmp_path: Path,
) -> None:
    said = ["Be kind.", "Hello", "Hi, who is there?", "x" * 330, "What is it?", "My lamp", "Noted."]
    roles = ["system", *["user", "assistant"] * 3]
    chat = [{"role": r, "content": c} for r, c in zip(roles, said, strict=True)]
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": "a", "messages": chat}) + "\n")
    found = list(turns.answers(tmp_path / "test.jsonl", "test"))
    assert turns.LONGEST == material.LONGEST  # run by its path, it cannot import it
    assert [row["id"] for row in found] == ["a-1", "a-3", "a-5"]
    assert texts(found[0]) == said[1:3]
    assert texts(found[1]) == said[3:5]  # not from the agent's greeting on
    assert texts(found[2]) == said[3:]
    for row in found:
        assert row["messages"][0]["role"] == "user" and row["messages"][-1]["role"] == "assistant"
        assert sum(map(len, texts(row))) <= turns.LONGEST
