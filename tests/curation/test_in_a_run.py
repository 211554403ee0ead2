"""Curation as a stage of a run: its verb, its place, its judge, and signals of fewer rows."""

from collections import Counter
from functools import partial
from pathlib import Path

import orjson
import pytest

from mwalimu.config import Config
from mwalimu.curation.judging import Question
from mwalimu.data.examples import Example, examples_of
from mwalimu.data.record import Message
from mwalimu.errors import RunError
from mwalimu.judging import scorer
from mwalimu.pipeline import Pipeline
from mwalimu.run import Run
from mwalimu.signals import Sampled, SignalReader
from mwalimu.teachers.base import Request
from mwalimu.teachers.fake import FakeTeacher
from tests.curation.rows import config, read
from tests.synthesis.capture.jobs import job as local_job
from tests.synthesis.capture.jobs import write_prompts

ASKED: Counter[str] = Counter()


def script(request: Request) -> str:
    """Refuses the third prompt; as a judge it dislikes the answer to the first."""
    ASKED[request.messages[0].role] += 1
    asked = request.messages[-1].content
    if request.messages[0].role == "system":
        return f"So so.\nAnswer: {2 if 'answer to 0' in asked else 9}"
    return (
        "Sorry, I cannot help with that." if asked == "prompt 2" else f"An answer to {asked[-1]}."
    )


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr("mwalimu.teachers.fake.FakeTeacher", partial(FakeTeacher, script))
    ASKED.clear()
    lines = "".join(f'{{"id": "r{i}", "prompt": "prompt {i}"}}\n' for i in range(4))
    (tmp_path / "prompts.jsonl").write_text(lines, encoding="utf-8")
    return at(tmp_path)


def at(folder: Path, **curate: object) -> Pipeline:
    job: Config = config(folder, curate, generate={"min_ok": 0.5})
    return Pipeline(job, folder / "run", store=folder / "answers")


def ids(run: Run) -> list[str]:
    return [row["id"] for row in read(run.learned()["train"])]


def test_what_is_learned_is_what_was_curated(pipeline: Pipeline) -> None:
    pipeline.generate()
    assert ids(pipeline.run) == ["r0", "r1", "r2", "r3"]
    with pytest.raises(RunError, match="run 'mwalimu curate' on this run folder first"):
        pipeline.finetune()
    assert pipeline.curate() == {"in": 4, "out": 3, "refusal: the teacher declines": 1}
    assert ids(pipeline.run) == ["r0", "r1", "r3"]


def test_a_resume_curates_again_only_what_would_change(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.generate()
    pipeline.curate()
    before = pipeline.run.require("curate")
    assert at(tmp_path)._skipped("curate", before.fingerprint)
    again = at(tmp_path, checks=[])
    assert again.curate() == {"in": 4, "out": 4}
    assert again.run.require("curate").fingerprint != before.fingerprint
    assert again.run.stage("generate") is not None
    with open(again.run.path("curate", "train.jsonl"), "ab") as handle:
        handle.write(b"\n")
    with pytest.raises(RunError, match="stage curate is not finished here"):
        again.run.learned()


def test_stages_after_it_lapse_and_keep_their_fingerprint_where_the_rows_are_the_same(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.generate()
    pipeline.curate()
    wanted = pipeline.fingerprints.learned()
    other = at(tmp_path, checks=["length"], length={"max_words": 5})  # the same row, another reason
    assert other.curate()["length: too long (words)"] == 1
    assert other.fingerprints.learned() == wanted
    fewer = at(tmp_path, refusal={"extra": ["An answer to 1"]})
    fewer.curate()
    assert fewer.fingerprints.learned() != wanted


def test_a_judge_is_paid_once(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.generate()
    assert ASKED == {"user": 4}
    judged = at(tmp_path, judge={"teacher": {"model": "fake"}})
    assert judged.curate()["judge: scored too low"] == 1
    assert ids(judged.run) == ["r1", "r3"]
    assert ASKED == {"user": 4, "system": 3}
    stricter = at(tmp_path, judge={"teacher": {"model": "fake"}, "min_score": 10}, min_ok=0.0)
    assert stricter.curate()["out"] == 0
    assert ASKED == {"user": 4, "system": 3}


def test_the_judge_is_asked_in_its_own_way(pipeline: Pipeline, tmp_path: Path) -> None:
    """How the teacher is made to reason, and its answer cut, is none of the judge's."""
    curate = {"judge": {"teacher": {"model": "fake"}}}
    job = config(tmp_path, curate, generate={"chain_of_thought": True})
    ask = scorer(job, tmp_path / "answers", "ab" * 16, lambda *_: None)
    question = Question("a", (Message("system", "Judge."), Message("user", "answer to 1")))
    assert ask is not None and ask([question]) == ["So so.\nAnswer: 9"]


def captured(folder: Path, run: str, **curate: object) -> tuple[list[Example], SignalReader]:
    """The examples that are learned, and the signals of the run."""
    job = local_job(folder, ["forward_kl"], generate={"min_ok": 0.5}, curate=curate)
    pipeline = Pipeline(job, folder / run, store=folder / "answers")
    pipeline.generate()
    summary = pipeline.curate()
    assert pipeline.signals()["sampled_rows"] == summary["out"]
    lines = pipeline.run.path("curate", "train.jsonl").read_bytes().splitlines()
    learned = [example for line in lines for example in examples_of(orjson.loads(line))]
    return learned, SignalReader.open(pipeline.run.path("signals", "sampled", "train"))


def test_signals_are_the_same_where_rows_are_left_out(tmp_path: Path) -> None:
    """Kept while the teacher generated, and named by the conversation: no row is mistaken."""
    write_prompts(tmp_path, 12)
    every, whole = captured(tmp_path, "whole", checks=[])
    kept, part = captured(tmp_path, "part", length={"min_words": 2}, min_ok=0.1)
    assert 0 < len(kept) < len(every)
    assert [example for example in every if part.has(example.key)] == kept
    for example in kept:
        one, other = part.row(example.key), whole.row(example.key)
        assert isinstance(one, Sampled) and isinstance(other, Sampled)
        assert one.ids.tolist() == other.ids.tolist()
        assert one.counts.tolist() == other.counts.tolist()
