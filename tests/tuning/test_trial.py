"""A trial itself: what it may ask, what it takes over, what it tells."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, build_config
from mwalimu.errors import BudgetReached, Misplaced
from mwalimu.pipeline import Pipeline
from mwalimu.run import Run
from mwalimu.tuning.axes import recipe
from mwalimu.tuning.measuring import read_rows, write_rows
from mwalimu.tuning.trial import Order, Tail, run_trial
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "student")


def job(folder: Path, student: Path, url: str, **sections: Any) -> Config:
    for split, count in {"train": 6, "validation": 3}.items():
        rows = [
            {"id": f"{split}-{i}", "messages": [{"role": "user", "content": f"{split} {i}"}]}
            for i in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    raw: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "teacher": {"model": "tiny", "base_url": url},
        "student": {"model": str(student), "method": "full", "max_length": 64},
        "finetune": {"epochs": 2, "batch_size": 4},
        "evaluate": {"max_tokens": 4},
    }
    return build_config({**raw, **sections}, base=folder)


def ordered(folder: Path, config: Config, *, allow_spend: bool = False) -> Order:
    return Order(
        config=config.model_dump(mode="json", exclude_unset=True),
        folder=str(folder / "trial"),
        store=str(folder / "answers"),
        rows=str(folder / "rows.jsonl"),
        stages=str(folder / "stages"),
        donors=(str(folder / "run"),),
        allow_spend=allow_spend,
    )


def prepared(folder: Path, config: Config) -> None:
    base = Pipeline(config, folder / "run", store=folder / "answers")
    base.generate()
    base.curate()
    write_rows(folder / "rows.jsonl", read_rows(base.run.path("generate", "validation.jsonl")))


def test_the_teacher_is_not_asked_again(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url)
        prepared(tmp_path, config)
        asked = dict(server.asked)
        events: list[Any] = []
        # Fewer rows are another stage 1; its answers are all there.
        changed = job(tmp_path, student, server.url, curate={"length": {"min_words": 1}})
        fewer = changed.model_copy(update={"data": changed.data.model_copy(update={"max_rows": 4})})
        run_trial(ordered(tmp_path, fewer), events.append)
        assert dict(server.asked) == asked
    assert [next(iter(event)) for event in events] == [
        "usd",
        "validated_on",
        "moment",
        "moment",
        "done",
    ]
    assert events[0] == {"usd": 0.0}
    assert [event["moment"]["epoch"] for event in events[2:4]] == [1, 2]
    found = events[-1]["done"]
    assert len(found["scores"]) == 3 and 0 <= found["quality"] <= 1
    assert found["latency"] > 0 and found["size"] > 0 and found["cost"] is None


def test_a_filter_and_a_mixture_take_the_answers_that_are_there(
    tmp_path: Path, student: Path
) -> None:
    with TeacherServer() as server:
        config = job(tmp_path, student, server.url)
        train = tmp_path / "train.jsonl"
        train.write_text(train.read_text().replace("train 0", "train with many more words"))
        prepared(tmp_path, config)
        asked = dict(server.asked)
        changes = {
            "curate.length.max_words": 3,
            "finetune.mixture": {"weights": {"generic": 2.0}},
            "finetune.epochs": 1,
        }
        filtered = recipe(config, changes)
        run_trial(ordered(tmp_path, filtered), lambda _: None)
        assert dict(server.asked) == asked
    trial = Run(tmp_path / "trial")
    learned = trial.learned()["train"].read_text()
    assert learned.count("\n") == 5 and "many more words" not in learned
    shared = "generate/train.jsonl"
    assert trial.path(shared).samefile(Run(tmp_path / "run").path(shared))


def test_a_recipe_that_needs_new_answers_is_refused_unless_it_may(
    tmp_path: Path, student: Path
) -> None:
    with TeacherServer() as server:
        teacher = {"model": "tiny", "base_url": server.url, "temperature": 0.7}
        prepared(tmp_path, job(tmp_path, student, server.url, teacher=teacher))
        asked = sum(server.asked.values())
        samples = {"teacher": teacher, "generate": {"samples": 2}}
        twice = job(tmp_path, student, server.url, **samples)
        with pytest.raises(BudgetReached, match=r"budget\.requests"):
            run_trial(ordered(tmp_path, twice), lambda _: None)
        assert sum(server.asked.values()) == asked
        run_trial(ordered(tmp_path, twice, allow_spend=True), lambda _: None)
        assert sum(server.asked.values()) > asked


def test_a_node_that_is_not_of_the_search_is_told_before_anything(
    tmp_path: Path, student: Path
) -> None:
    order = ordered(tmp_path, job(tmp_path, student, "http://127.0.0.1:1/v1"))
    with pytest.raises(Misplaced, match="the folder of the search is not on node"):
        run_trial(order, lambda _: None)
    with pytest.raises(Misplaced, match=r"has mwalimu .*, the search 0\.0\.1"):
        run_trial(replace(order, version="0.0.1"), lambda _: None)
    assert not (tmp_path / "trial").exists()


def test_it_is_told_of_each_validation_once_however_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    told: list[Any] = []
    tail = Tail(path, told.append)
    tail.read()
    path.write_text(line(1, 9.0) + '{"step": 3, "loss": 1}\n' + line(2, 8.0)[:-9])
    tail.read()
    assert [event["moment"]["epoch"] for event in told] == [1]
    path.write_text(line(1, 9.0))  # a training that goes on cuts what came after its checkpoint
    tail.read()
    path.write_text(line(1, 9.0) + line(2, 8.0))
    tail.read()
    tail.read()
    assert told == [{"moment": {"epoch": e, "nats": n}} for e, n in ((1, 9.0), (2, 8.0))]


def line(epoch: int, nats: float) -> str:
    return json.dumps({"epoch": epoch, "validation_loss": 1.0, "answer_nats": nats}) + "\n"


def test_rows_with_tools_survive_their_file(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "task": "conversation",
        "messages": [
            {"role": "user", "content": "naïve \u4f60"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "1", "tool_call_id": "x"},
            {"role": "assistant", "content": "one"},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "metadata": {"k": 1},
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    records = read_rows(path)
    assert records[0].reference == "one" and records[0].to_json() == row
    write_rows(path, records)
    assert read_rows(path) == records
