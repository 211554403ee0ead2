"""No row vanishes without a word: from the file of prompts to what is learned, each id has exactly
one outcome in every stage, the counts told are those of the rows, and too few fail the command.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mwalimu import api
from mwalimu.config import load_config
from mwalimu.finetune import task
from mwalimu.quickstart.job import write_jsonl
from tests import command
from tests.figures import record
from tests.synthesis.teacher_server import TeacherServer, completion
from tests.tiny import make_tiny_model

ROWS = 3000 if os.environ.get("MWALIMU_LONG") else 300
SEED = 10
TOPICS = ("lamp", "river", "engine", "parcel", "garden", "bridge", "violin", "harbour", "market")


def question(number: int, salt: str) -> str:
    chance = random.Random(f"{salt}{number}")
    return f"{salt} {number}: " + " ".join(chance.choices(TOPICS, k=12)) + "?"


def kind_of(prompt: str) -> str:
    """How the teacher deals with it, whoever asks when."""
    kinds = ("ok", "cut", "refused", "broken", "empty", "leaked")
    return random.Random(prompt).choices(kinds, (60, 8, 8, 8, 8, 8))[0]


def answered(prompt: str, _: int) -> web.Response | None:
    match kind_of(prompt):
        case "cut":
            body = completion("half an ans", finish_reason="length")
        case "refused":
            body = completion("", finish_reason="content_filter")
        case "broken":
            return web.json_response({"error": {"message": "no"}}, status=400)
        case "empty":
            body = completion("")
        case "leaked":  # accepted by stage 1, objected to by curation
            body = completion("I cannot help with that request, as an AI language model.")
        case _:
            return None
    return web.json_response(body)


def write(folder: Path, url: str) -> dict[str, list[str]]:
    """The ids of each split; some training rows stand twice, some are rows of the test."""
    texts = {split: [question(n, split) for n in range(40)] for split in ("validation", "test")}
    train = [question(n, "train") for n in range(ROWS)]
    train += random.Random(SEED).sample(train, ROWS // 10) + texts["test"][:7]
    random.Random(SEED).shuffle(train)
    texts["train"] = train
    for split, prompts in texts.items():
        gold = {"completion": "yes"} if split == "test" else {}
        rows = [{"id": f"{split}-{n}", "prompt": text} | gold for n, text in enumerate(prompts)]
        write_jsonl(folder / f"{split}.jsonl", rows)
    config = {
        "task": "generic",
        "data": {split: f"{split}.jsonl" for split in texts} | {"contamination": "drop"},
        "teacher": {"model": "tiny", "base_url": url, "max_retries": 1},
        "student": {"model": str(make_tiny_model(folder / "model")), "method": "full"},
        "prepare": {"near_duplicates": 0.9, "overlap": "off"},
        "generate": {"min_ok": 0.3},
        "curate": {"min_ok": 0.3},
        "finetune": {"epochs": 1, "objective": "cross_entropy"},
    }
    (folder / "distill.yaml").write_text(json.dumps(config))
    return {split: [f"{split}-{n}" for n in range(len(rows))] for split, rows in texts.items()}


def stage(folder: Path, verb: str, *more: str) -> tuple[int, str]:
    done = command.mwalimu(verb, "distill.yaml", "--run", "run", *more, cwd=folder)
    return done.returncode, done.stderr


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / name).read_bytes().splitlines()]


def ids(folder: Path, name: str) -> list[str]:
    return [row["id"] for row in rows(folder, name)]


def funnel(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / name / "funnel.json").read_bytes())
    return found["splits"]


@pytest.mark.slow
def test_every_row_has_one_outcome_in_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TeacherServer(answered) as server:
        given = write(tmp_path, server.url)
        inputs = [*given["train"], *given["validation"]]
        for verb in ("prepare", "generate", "curate"):
            code, said = stage(tmp_path, verb)
            assert code == 0, said[-500:]
    wanted, seen = Counter(inputs), 0
    for name in ("prepare", "generate", "curate"):
        kept = {split: ids(tmp_path, f"{name}/{split}.jsonl") for split in ("train", "validation")}
        out = ids(tmp_path, f"{name}/rejects.jsonl")
        assert out, f"{name} rejects nothing: nothing is tried"
        assert Counter([*kept["train"], *kept["validation"], *out]) == wanted, name
        assert all(row["reason"] for row in rows(tmp_path, f"{name}/rejects.jsonl"))
        told(tmp_path, name, kept, out, wanted.total())
        seen += wanted.total()
        wanted = Counter([*kept["train"], *kept["validation"]])
    assert Counter(learned(tmp_path, monkeypatch)) == wanted
    record("R10", "rows through prepare, generate, curate, finetune", tried=seen, seed=SEED)


def learned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the rows of which stage 2 learns, or is validated by, at least one token."""
    seen: list[str] = []

    def spied(*given: Any) -> Any:
        splits = rows_to_ids(*given)
        seen.extend(row.row_id for split in splits for row in split if row.targets)
        return splits

    rows_to_ids = task.encode_splits
    monkeypatch.setattr(task, "encode_splits", spied)
    api.finetune(load_config(folder / "distill.yaml"), folder / "run", store=folder / "store")
    return seen


def told(folder: Path, name: str, kept: dict[str, list[str]], out: list[str], inputs: int) -> None:
    """The counts that a stage tells are those of its files."""
    if name == "generate":
        ledger = json.loads((folder / "run/generate/ledger.json").read_bytes())
        assert sum(ledger["outcomes"].values()) == ledger["inputs"] == inputs
        assert ledger["outcomes"]["ok"] == sum(map(len, kept.values()))
        statuses = Counter(row["status"] for row in rows(folder, "generate/rejects.jsonl"))
        assert Counter(ledger["outcomes"]) - Counter(ok=ledger["outcomes"]["ok"]) == statuses
        return
    counts = funnel(folder, name)
    for split, names in kept.items():
        assert counts[split]["out"] == len(names)
        assert counts[split]["in"] == len(names) + sum(counts[split]["removed"].values())
    assert sum(sum(one["removed"].values()) for one in counts.values()) == len(out)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["generate", "curate", "run"])
def test_too_few_accepted_rows_fail_the_command(verb: str, tmp_path: Path) -> None:
    with TeacherServer(answered) as server:
        write(tmp_path, server.url)
        if verb == "curate":
            assert stage(tmp_path, "generate")[0] == 0
        setting = "curate.min_ok=0.99" if verb == "curate" else "generate.min_ok=0.99"
        code, said = stage(tmp_path, verb, "--set", setting)
        assert code == 9 and said.splitlines()[-1].startswith("error: "), said
        assert not (tmp_path / "run" / "finetune").exists()
    record("R10", "too few accepted rows", tried=1)
