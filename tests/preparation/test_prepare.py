"""The stage as the pipeline runs it, on real files."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from mwalimu import api
from mwalimu.config import Config, build_config
from mwalimu.errors import DataError, RunError
from mwalimu.pipeline import Pipeline
from tests.preparation.planted import edited, rewritten, sentences
from tests.preparation.test_diversity import on_subjects

Row = dict[str, Any]


def job(folder: Path, prepare: Row | None = None, **data: Any) -> Config:
    raw = {
        "task": "generic",
        "data": {name: f"{name}.jsonl" for name in ("train", "validation", "test")} | data,
        "teacher": {"model": "fake"},
        "student": {"model": "unused"},
        "finetune": {"objective": [{"kind": "cross_entropy"}]},
        "prepare": prepare or {},
    }
    for name in ("train", "validation", "test"):
        if not (folder / f"{name}.jsonl").exists():
            raw["data"].pop(name)
    return build_config(raw, base=folder)


def write(folder: Path, split: str, rows: list[Any]) -> None:
    given = [row if isinstance(row, dict) else {"prompt": row} for row in rows]
    path = folder / f"{split}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in given))


def read(folder: Path, name: str) -> list[Row]:
    return [json.loads(line) for line in (folder / "run/prepare" / name).read_text().splitlines()]


def funnel(folder: Path) -> Row:
    found: Row = json.loads((folder / "run/prepare/funnel.json").read_bytes())["splits"]
    return found


def prepared(folder: Path, config: Config) -> tuple[Row, list[str]]:
    notes: list[str] = []
    summary = api.prepare(
        config, folder / "run", store=folder / "store", progress=lambda *a: notes.append(a[3])
    )
    return summary, notes


def test_a_thousand_planted_rows_go_and_the_clean_ones_stay(tmp_path: Path) -> None:
    rng = random.Random(0)
    clean, test = sentences(2000, seed=1), sentences(300, seed=2)
    planted = {
        "near duplicate": [
            *(edited(rng.choice(clean), rng.uniform(0.01, 0.1), rng) for _ in range(200)),
            *(rewritten(rng.choice(clean), rng) for _ in range(200)),
        ],
        "contamination": [rewritten(rng.choice(test), rng) for _ in range(300)],
        "overlap": [
            f"{one} {' '.join(rng.choice(test).split()[2:15])}" for one in sentences(300, seed=3)
        ],
    }
    write(tmp_path, "train", clean + [text for texts in planted.values() for text in texts])
    write(tmp_path, "test", test)
    config = job(tmp_path, {"near_duplicates": 0.5, "overlap": "drop"}, contamination="drop")
    prepared(tmp_path, config)
    found = funnel(tmp_path)["train"]
    assert found == {
        "in": 3000,
        "out": 2000,
        "removed": {"near duplicate": 400, "contamination": 300, "overlap": 300},
    }
    assert [row["messages"][0]["content"] for row in read(tmp_path, "train.jsonl")] == clean
    rejects = read(tmp_path, "rejects.jsonl")
    assert Counter(row["reason"] for row in rejects) == found["removed"]
    assert all(row["split"] == "train" and row["detail"] for row in rejects)


def test_near_rows_of_other_splits_are_named_and_held_out_rows_stay(tmp_path: Path) -> None:
    rng = random.Random(0)
    test, validation, own = sentences(3)
    near = [edited(one, 0.05, rng) for one in (test, validation, own)]
    write(tmp_path, "test", [test, edited(test, 0.05, rng)])
    write(tmp_path, "validation", [validation, edited(test, 0.05, rng)])
    write(tmp_path, "train", [own, *near])
    prepared(tmp_path, job(tmp_path, {"near_duplicates": 0.5, "overlap": "off"}))
    found = funnel(tmp_path)
    assert found["train"] == {
        "in": 4,
        "out": 1,
        "removed": {"near a test row": 1, "near a validation row": 1, "near duplicate": 1},
    }
    assert found["validation"] == {"in": 2, "out": 1, "removed": {"near a test row": 1}}
    details = {row["reason"]: row["detail"] for row in read(tmp_path, "rejects.jsonl")}
    assert details["near duplicate"] == f"row 1 of {tmp_path / 'train.jsonl'}"
    assert details["near a validation row"] == f"row 1 of {tmp_path / 'validation.jsonl'}"


def test_rows_keep_all_that_they_have(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    rows = [
        {"id": 7, "prompt": "a", "completion": "A", "metadata": {"x": [1]}, "system": "s"},
        {
            "messages": [
                {"role": "user", "content": "b"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "r", "tool_call_id": "c"},
            ],
            "tools": [tool],
        },
    ]
    write(tmp_path, "train", rows)
    config = job(tmp_path, {"near_duplicates": 0.9})
    pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "store")
    pipeline.prepare()
    assert list(pipeline.prompts["train"]) == list(pipeline.inputs.prompts["train"])


def test_stage_1_asks_what_is_left_and_a_resume_skips(tmp_path: Path) -> None:
    texts = sentences(30)
    write(tmp_path, "train", [*texts, f"{texts[3]} indeed"])
    config = job(tmp_path, {"near_duplicates": 0.6})
    run, store = tmp_path / "run", tmp_path / "store"
    assert api.generate(config, run, store=store)["inputs"] == 30
    before = (run / "prepare/train.jsonl").stat().st_mtime_ns
    notes: list[tuple[str, str]] = []
    api.generate(config, run, store=store, progress=lambda *a: notes.append((a[0], a[3])))
    assert {("prepare", "already done"), ("generate", "already done")} <= set(notes)
    assert (run / "prepare/train.jsonl").stat().st_mtime_ns == before
    stricter = job(tmp_path, {"near_duplicates": 0.6, "select": {"rows": 10, "by": "random"}})
    assert api.generate(stricter, run, store=store)["inputs"] == 10
    assert api.generate(job(tmp_path), run, store=store)["inputs"] == 31  # the user's file again


def test_changed_scores_prepare_again(tmp_path: Path) -> None:
    write(tmp_path, "train", sentences(4))
    scores = tmp_path / "scores.jsonl"
    select = {"rows": 2, "by": "loss", "scores": "scores.jsonl"}

    def kept(values: list[float]) -> list[str]:
        rows = [{"id": f"train-{n + 1:06d}", "score": one} for n, one in enumerate(values)]
        scores.write_bytes(b"\n".join(map(orjson.dumps, rows)))
        prepared(tmp_path, job(tmp_path, {"select": select}))
        return [row["id"][-1] for row in read(tmp_path, "train.jsonl")]

    assert kept([4, 3, 2, 1]) == ["1", "2"]
    assert json.loads((tmp_path / "run/prepare/diversity.json").read_bytes()) == {}
    assert kept([1, 3, 2, 4]) == ["2", "4"]


def test_damaged_rows_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "train", sentences(4))
    config = job(tmp_path, {"near_duplicates": 0.9})
    prepared(tmp_path, config)
    with open(tmp_path / "run/prepare/train.jsonl", "ab") as handle:
        handle.write(b'{"prompt": "more"}\n')
    with pytest.raises(RunError, match="stage prepare is not finished"):
        _ = Pipeline(config, tmp_path / "run", store=tmp_path / "store").prompts
    assert prepared(tmp_path, config)[0] == {"train": 4}


def test_the_refusal_comes_before_any_answer(tmp_path: Path) -> None:
    write(tmp_path, "train", ["a", "b"])
    write(tmp_path, "test", ["B!"])
    with pytest.raises(DataError, match=r"train\.jsonl:2: asks what .*test\.jsonl:1 asks"):
        api.generate(job(tmp_path), tmp_path / "run", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
    ledger = api.generate(
        job(tmp_path, contamination="drop"), tmp_path / "run", store=tmp_path / "store"
    )
    assert ledger["inputs"] == 1


def test_an_estimate_counts_the_rows_that_are_left(tmp_path: Path) -> None:
    write(tmp_path, "train", sentences(20))
    config = job(tmp_path, {"select": {"rows": 5, "by": "random"}})
    run = tmp_path / "run"

    def rows() -> int:
        return api.estimate(config, store=tmp_path / "store", folder=run).rows["train"]

    assert rows() == 20
    prepared(tmp_path, config)
    assert rows() == 5
    write(tmp_path, "train", sentences(21))
    assert rows() == 21  # prepared from another file


def test_a_test_file_that_changed_is_looked_at_before_the_evaluation(tmp_path: Path) -> None:
    write(tmp_path, "train", ["a", "b"])
    write(tmp_path, "test", ["c"])
    api.generate(job(tmp_path), tmp_path / "run", store=tmp_path / "store")
    write(tmp_path, "test", ["c", "A!"])
    pipeline = Pipeline(job(tmp_path), tmp_path / "run", store=tmp_path / "store")
    pipeline.run.finish("finetune", "f", [], {})
    with pytest.raises(DataError, match=r"train\.jsonl:1: asks what"):
        pipeline.evaluate()


def test_checks_alone_publish_nothing(tmp_path: Path) -> None:
    write(tmp_path, "train", ["a"])
    write(tmp_path, "test", ["b"])
    summary, (choice,) = prepared(tmp_path, job(tmp_path))
    assert summary == {} and choice.startswith("cross_entropy")
    assert not (tmp_path / "run/prepare").exists()


def test_no_row_left_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "train", ["a"])
    write(tmp_path, "test", ["a"])
    with pytest.raises(DataError, match=r"train\.jsonl: no row is left .*1 contamination"):
        prepared(tmp_path, job(tmp_path, contamination="drop"))
    write(tmp_path, "train", ["b"])
    write(tmp_path, "validation", ["a"])
    with pytest.raises(DataError, match=r"validation\.jsonl: no row is left"):
        prepared(tmp_path, job(tmp_path, contamination="drop"))


def test_the_report_of_diversity_before_and_after(tmp_path: Path) -> None:
    texts, names = on_subjects({"cooking": 120, "travel": 30, "money": 20})
    write(
        tmp_path,
        "train",
        [{"prompt": text, "completion": name} for text, name in zip(texts, names, strict=True)],
    )
    config = job(tmp_path, {"balance": {"by": "label", "most": 1.0}, "topics": 3})
    _, notes = prepared(tmp_path, config)
    report = json.loads((tmp_path / "run/prepare/diversity.json").read_bytes())
    before, after = report["label"]["before"], report["label"]["after"]
    assert [group["rows"] for group in before["groups"]] == [120, 30, 20]
    assert [group["rows"] for group in after["groups"]] == [30, 30, 20]
    assert after["evenness"] > before["evenness"]
    assert report["topic"]["before"]["rows"] == 170
    assert funnel(tmp_path)["train"]["removed"] == {"over-represented": 90}
    assert "80 of 170 rows are left (90 over-represented)" in notes[-1]


def test_coverage_is_chosen_among_the_rows_that_are_left(tmp_path: Path) -> None:
    texts, _ = on_subjects({"cooking": 40, "money": 40})
    write(tmp_path, "train", [*texts, *texts[:5]])
    prepared(tmp_path, job(tmp_path, {"near_duplicates": 0.9, "select": {"rows": 12}}))
    found = funnel(tmp_path)["train"]
    assert found["out"] == 12 and found["removed"]["near duplicate"] >= 5
    assert sum(found["removed"].values()) == found["in"] - found["out"]


def test_the_bytes_are_the_same_again(tmp_path: Path) -> None:
    texts, _ = on_subjects({"cooking": 60, "travel": 30, "money": 20})
    files = {}
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, "train", texts)
        settings = {"near_duplicates": 0.8, "topics": 4, "select": {"rows": 30}}
        prepared(folder, job(folder, settings | {"balance": {"by": "topic", "most": 2}}))
        published = ("train.jsonl", "funnel.json", "diversity.json")
        files[name] = [(folder / "run/prepare" / one).read_bytes() for one in published]
    assert files["one"] == files["two"]
