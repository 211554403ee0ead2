"""The models that ship: real ones, small enough, and as good as their card says."""

import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from mwalimu import quickstart
from mwalimu.data.readers import to_record
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.tasks import grade
from mwalimu.quickstart.job import ROWS, write_job
from mwalimu.quickstart.rows import generate_rows

SHIPPED = Path(quickstart.__file__).parent
TASKS = ("nli", "conversation", "qa", "math", "summarization")


def parameters(folder: Path) -> int:
    total = 0
    with safe_open(folder / "model.safetensors", framework="np") as tensors:
        for name in tensors.keys():  # noqa: SIM118  # not a dictionary
            size = 1
            for length in tensors.get_slice(name).get_shape():
                size *= length
            total += size
    return total


def card_scores() -> dict[str, float]:
    text = (SHIPPED / "teacher" / "README.md").read_text(encoding="utf-8")
    return {task: float(score) for task, score in re.findall(r"\| (\w+) \| ([\d.]+)% \|", text)}


def test_the_teacher_is_small_enough_and_the_student_at_least_eight_times_smaller() -> None:
    assert (SHIPPED / "teacher" / "model.safetensors").stat().st_size <= 12e6
    assert parameters(SHIPPED / "teacher") >= 8 * parameters(SHIPPED / "student")
    for name in ("teacher", "student"):
        assert list((SHIPPED / name).glob("*.bin")) == []
        config = json.loads((SHIPPED / name / "config.json").read_bytes())
        assert config["architectures"] == ["LlamaForCausalLM"]
        assert (SHIPPED / name / "chat_template.jinja").is_file()


def test_the_card_has_every_task_and_the_teacher_makes_real_mistakes() -> None:
    scores = card_scores()
    assert set(scores) == {*TASKS, "overall"}
    assert 90 <= scores["overall"] <= 99


def test_the_teacher_is_as_good_as_its_card_says() -> None:
    rows = generate_rows("test", 200, seed=5)
    records = [to_record(row, task="generic", default_id="") for row in rows]
    answerer = load_answerer(SHIPPED / "teacher", max_tokens=64, trust_remote_code=False)
    answers = answerer.answer_all(
        answerer.encode(records), batch_size=100, on_batch=lambda done: None
    )
    scores = [
        grade(record.task, answer.text, str(record.reference))
        for record, answer in zip(records, answers, strict=True)
    ]
    # Four standard errors of a share near 0.95 over 200 rows.
    expected = card_scores()["overall"] / 100
    assert sum(scores) / len(scores) == pytest.approx(expected, abs=0.06)


def test_the_job_is_written_the_same_every_time_and_hides_the_answers(tmp_path: Path) -> None:
    sizes = dict.fromkeys(ROWS, 10)
    for folder in ("a", "b"):
        write_job(tmp_path / folder, rows=sizes)
    for split in ROWS:
        paths = [tmp_path / folder / "data" / f"{split}.jsonl" for folder in ("a", "b")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        last = {json.loads(x)["messages"][-1]["role"] for x in paths[0].read_bytes().splitlines()}
        assert last == {"user" if split in ("train", "validation") else "assistant"}
