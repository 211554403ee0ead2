"""Stage 2 from rows to a published student, and what it says when it cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mwalimu.config import Config, build_config
from mwalimu.data.tokenize import encode_prompt
from mwalimu.errors import DataError, NoTargetTokens, RunError, StudentError
from mwalimu.files import atomic_writer
from mwalimu.finetune.finetune import finetune, train_student
from mwalimu.run import Run
from tests.finetune.jobs import SETTINGS, chat, metrics, sums, train, weights
from tests.tiny import make_tiny_model

SUMMARY = {
    "steps",
    "epochs",
    "best_epoch",
    "best_step",
    "train_loss",
    "validation_loss",
    "parameters",
    "trained_parameters",
    "target_tokens",
    "truncated_rows",
    "seconds",
    "stopped_early",
    "warnings",
}


class Calls(list[tuple[str, int, int, str]]):
    def __call__(self, *call: Any) -> None:
        self.append(call)

    @property
    def notes(self) -> list[str]:
        return [call[3] for call in self]


def make_config(folder: Path, tiny: Path, **student: Any) -> Config:
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": str(tiny), "method": "full", "max_length": 64} | student,
        "finetune": SETTINGS,
    }
    return build_config(raw, base=folder)


def make_run(folder: Path, **splits: list[dict[str, Any]]) -> Run:
    """A run folder whose stage 1 is done."""
    run, paths = Run(folder), []
    for name, rows in splits.items():
        path = run.path("generate", f"{name}.jsonl")
        with atomic_writer(path) as handle:
            handle.writelines(json.dumps(row).encode() + b"\n" for row in rows)
        paths.append(path)
    run.finish("generate", "f1", paths, {})
    return run


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_stage_publishes_a_student_and_its_metrics(
    tmp_path: Path, tiny: Path, method: str
) -> None:
    run = make_run(tmp_path / "run", train=sums(64), validation=sums(8, seed=1), rejects=[])
    calls = Calls()
    config = make_config(tmp_path, tiny, method=method, lora_rank=4)
    summary = finetune(config, run, stage_fingerprint="f2", on_progress=calls)
    merge = {"merge_error", "merge_tolerance"} if method == "lora" else set()
    assert summary.keys() == SUMMARY | merge and summary["validation_loss"] is not None
    state = Run(tmp_path / "run").require("finetune")
    assert state.fingerprint == "f2" and state.summary == summary
    names = {name.removeprefix("finetune/") for name in state.files}
    assert {"metrics.jsonl", "student/model.safetensors", "student/config.json"} <= names
    assert "student/chat_template.jinja" in names
    assert not any("checkpoint" in name or "trained.json" in name for name in names)
    assert not run.path("finetune", "checkpoints").exists()
    assert {call[0] for call in calls} == {"finetune"} and calls[-1][1] == calls[-1][2]
    assert any(note.startswith("epoch 2/2 loss ") and " val " in note for note in calls.notes)


def test_the_student_learns(tmp_path: Path, tiny: Path) -> None:
    rows = [chat(str(i), f"{i}", "odd" if i % 2 else "even") for i in range(10)]
    train(tiny, tmp_path, rows=rows, learning_rate=0.01, batch_size=10, epochs=60)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    for row in rows:
        prompt = torch.tensor([encode_prompt(tokenizer, row["messages"][:1])])
        with torch.no_grad():
            ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=9)
        answer = tokenizer.decode(ids[0, prompt.shape[1] :])
        assert answer == row["messages"][1]["content"] + "<|end|>"


def test_the_stage_needs_a_finished_stage_1(tmp_path: Path, tiny: Path) -> None:
    config = make_config(tmp_path, tiny)
    with pytest.raises(RunError, match="mwalimu generate"):
        finetune(config, Run(tmp_path / "run"), stage_fingerprint="f", on_progress=Calls())


def test_no_accepted_row_is_told_with_its_file(tmp_path: Path, tiny: Path) -> None:
    run = make_run(tmp_path / "run", train=[], rejects=[])
    with pytest.raises(DataError, match=r"train\.jsonl: has no accepted row.*rejects\.jsonl"):
        finetune(make_config(tmp_path, tiny), run, stage_fingerprint="f", on_progress=Calls())


def test_the_same_call_again_does_nothing(tmp_path: Path, tiny: Path) -> None:
    first = train(tiny, tmp_path)
    (tmp_path / "checkpoints").mkdir()  # a crash just before the end leaves them
    calls = Calls()
    assert train(tiny, tmp_path, on_progress=calls) == first
    assert calls == [("finetune", 1, 1, "already done")]
    assert not (tmp_path / "checkpoints").exists()


def remove_student(folder: Path) -> None:
    shutil.rmtree(folder / "student")


def damage_weights(folder: Path) -> None:
    path = folder / "student" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def damage_list(folder: Path) -> None:
    (folder / "trained.json").write_text("[1]")


@pytest.mark.parametrize("damage", [remove_student, damage_weights, damage_list])
def test_a_damaged_result_is_made_again(tmp_path: Path, tiny: Path, damage: Any) -> None:
    train(tiny, tmp_path)
    expected = weights(tmp_path)
    damage(tmp_path)
    calls = Calls()
    train(tiny, tmp_path, on_progress=calls)
    assert len(calls) > 5 and weights(tmp_path) == expected


def test_what_a_result_depends_on_makes_another(tmp_path: Path, tiny: Path) -> None:
    train(tiny, tmp_path / "job")
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    seen = set()
    for change in ({}, {"rows": sums(63)}, {"validation": sums(3)}, {"weight_decay": 0.5}):
        calls = Calls()
        train(model, tmp_path / "job", on_progress=calls, **change)
        assert "already done" not in calls.notes
        seen.add(weights(tmp_path / "job"))
    make_tiny_model(model, seed=9)  # another model under the same name
    calls = Calls()
    train(model, tmp_path / "job", on_progress=calls, weight_decay=0.5)
    assert "already done" not in calls.notes
    assert len(seen | {weights(tmp_path / "job")}) >= 4


def test_save_every_does_not_make_another(tmp_path: Path, tiny: Path) -> None:
    train(tiny, tmp_path)
    calls = Calls()
    train(tiny, tmp_path, on_progress=calls, save_every=1)
    assert calls.notes == ["already done"]


def test_the_summary_counts_what_was_trained(tmp_path: Path, tiny: Path) -> None:
    long = chat("long", "1+1", "2" * 100)
    full = train(tiny, tmp_path / "full", rows=[*sums(20), long])
    lora = train(tiny, tmp_path / "lora", rows=[*sums(20), long], method="lora")
    assert full["parameters"] == lora["parameters"] == full["trained_parameters"] == 25440
    assert 0 < lora["trained_parameters"] < 20_000
    assert full["truncated_rows"] == 1
    prompt = 3 + len("1+1")
    answers = sum(len(row["messages"][1]["content"]) + 1 for row in sums(20))
    assert full["target_tokens"] == 2 * (answers + 64 - prompt)
    assert full["steps"] == len([line for line in metrics(tmp_path / "full") if "loss" in line])


def test_the_label_names_the_progress(tmp_path: Path, tiny: Path) -> None:
    from mwalimu.finetune.finetune import train_student
    from tests.finetune.jobs import settings, student

    calls = Calls()
    train_student(
        student(tiny),
        settings(epochs=1),
        sums(8),
        None,
        tmp_path,
        seed=0,
        stage_fingerprint="",
        on_progress=calls,
        label="baseline",
    )
    assert {call[0] for call in calls} == {"baseline"}


def test_no_rows_is_one_line(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(DataError, match="no row to learn from"):
        train(tiny, tmp_path, rows=[])


def test_rows_without_an_answer_are_named(tmp_path: Path, tiny: Path) -> None:
    bare = [
        {**row, "id": f"bare{i}", "messages": row["messages"][:1]} for i, row in enumerate(sums(7))
    ]
    with pytest.raises(DataError, match=r"7 rows .*: bare0, bare1, bare2, bare3, bare4, \.\.\."):
        train(tiny, tmp_path, rows=[*sums(3), *bare])


def test_prompts_that_fill_the_student_are_all_named(tmp_path: Path, tiny: Path) -> None:
    full = [chat(f"full{i}", "x" * 62, "y") for i in range(2)]
    with pytest.raises(NoTargetTokens) as caught:
        train(tiny, tmp_path, rows=[*sums(3), full[0]], validation=[full[1]])
    assert "prompts of 2 rows" in str(caught.value) and "full0, full1;" in str(caught.value)
    assert "raise student.max_length (now 64)" in str(caught.value)


def test_without_a_max_length_a_row_may_fill_the_context(tmp_path: Path, tiny: Path) -> None:
    config = make_config(tmp_path, tiny, max_length=None)
    rows = [
        {
            "messages": [
                {"role": "user", "content": "x" * 480},
                {"role": "assistant", "content": "y" * 99},
            ]
        }
    ]
    summary = train_student(
        config.student,
        config.finetune,
        rows,
        None,
        tmp_path / "out",
        seed=0,
        stage_fingerprint="",
        on_progress=lambda *_: None,
    )
    # 512 positions less 480 characters and the three tokens around them.
    assert summary["truncated_rows"] == 1
    assert summary["target_tokens"] == (512 - 483) * summary["epochs"]


def test_a_max_length_beyond_the_model_names_both_numbers(tmp_path: Path, tiny: Path) -> None:
    run = make_run(tmp_path / "run", train=sums(4))
    config = make_config(tmp_path, tiny, max_length=2048)
    with pytest.raises(StudentError, match="max_length is 2048, the model has 512 positions"):
        finetune(config, run, stage_fingerprint="f", on_progress=Calls())
