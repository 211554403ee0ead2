"""On-policy rows: who answers, what is learned of it, and that a resume takes the same."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.config import OnPolicyConfig, PartConfig, Schedule
from mwalimu.data.collate import collate
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.on_policy import Rollout
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.teaching import Teaching
from tests.finetune.jobs import metrics, settings, student, sums, weights
from tests.finetune.models import make_model, make_rows
from tests.tiny import make_tiny_model

END = 2


def rollout(**changes: Any) -> Rollout:
    options = OnPolicyConfig.model_validate({"max_tokens": 8} | changes)
    return Rollout(options, ends=(END,), pad_id=0, max_length=64, seed=3)


def prompt_of(row: Encoded) -> list[int]:
    return row.ids[: len(row.ids) - row.targets]


def test_a_greedy_answer_is_the_models_own_row_by_row_and_ends_at_its_end() -> None:
    model, rows = make_model().eval(), make_rows(6)
    answered = rollout(temperature=0).answer(model, rows, seed=1)
    for row, own in zip(rows, answered, strict=True):
        assert prompt_of(own) == prompt_of(row) and own.key == row.key
        ids = prompt_of(row)
        for _ in range(8):  # without a cache, padding or a batch
            with torch.no_grad():
                ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
            if ids[-1] == END:
                break
        assert own.ids == ids


def test_draws_depend_on_the_seed_and_leave_the_generators_alone() -> None:
    model, rows = make_model().train(), make_rows(4)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = rollout().answer(model, rows, seed=1)
    assert torch.equal(torch.rand(2), expected) and model.training
    assert rollout().answer(model, rows, seed=1) == first
    assert rollout().answer(model, rows, seed=2) != first


def test_an_answer_never_leaves_the_context() -> None:
    model, rows = make_model(), make_rows(6)
    limited = Rollout(OnPolicyConfig(max_tokens=50), (END,), 0, max_length=24, seed=0)
    assert all(len(row.ids) <= 24 for row in limited.answer(model, rows, seed=0))


def test_the_share_decides_how_many_and_the_step_which() -> None:
    model, rows = make_model(), make_rows(40)
    batches = [rows[:20], rows[20:]]
    split = rollout(share=0.25).split(model, batches, step=7, progress=0.0)
    assert rollout(share=0.25).split(model, batches, step=7, progress=0.0) == split
    own = [row for part, on_policy in split if on_policy for row in part]
    assert 4 <= len(own) <= 17 and sum(len(part) for part, _ in split) == 40
    other = rollout(share=0.25).split(model, batches, step=8, progress=0.0)
    assert other != split
    assert rollout(share=0.0).split(model, batches, 7, 0.0) == [(b, False) for b in batches]
    ramp = Schedule(start=0, end=1)
    late = rollout(share=ramp).split(model, batches, step=7, progress=1.0)
    assert [on_policy for _, on_policy in late] == [True, True]


def test_nothing_is_imitated_in_a_students_own_answer(tmp_path: Path) -> None:
    from mwalimu.data.tokenize import prepare_tokenizer
    from mwalimu.finetune.teacher.live import LiveTeacher
    from mwalimu.finetune.teacher.rows import JobRows
    from mwalimu.finetune.teacher.view import Needs
    from tests.tiny import make_tokenizer

    tokenizer = make_tokenizer()
    prepare_tokenizer(tokenizer)
    parts = (PartConfig(kind="reverse_kl"), PartConfig(kind="cross_entropy"))
    model = make_model()
    model.resize_token_embeddings(len(tokenizer))
    folder = make_tiny_model(tmp_path / "teacher")
    teacher = LiveTeacher(
        Needs.of(parts), str(folder), model.device, JobRows.of(tokenizer, []), autocast=False
    )
    teaching = Teaching(model, parts, teacher)
    rows = [row for row in make_rows(4) if row.targets]
    own = collate(rows, pad_id=0, device=model.device, on_policy=True)
    assert set(teaching(own, 1.0, 0.0).sums) == {"reverse_kl"}
    theirs = collate(rows, pad_id=0, device=model.device)
    assert set(teaching(theirs, 1.0, 0.0).sums) == {"reverse_kl", "cross_entropy"}


def train(folder: Path, models: Path, on_progress: Any = lambda *_: None, **changes: Any) -> None:
    from mwalimu.finetune.finetune import train_student

    objective = [{"kind": "reverse_kl"}, {"kind": "cross_entropy", "weight": 0.5}]
    on_policy = {"share": {"start": 0.2, "end": 1.0}, "max_tokens": 4}
    job = {"objective": objective, "on_policy": on_policy, "teacher": "live"} | changes
    train_student(
        student(models / "student"),
        settings(**job),
        sums(40),
        None,
        folder,
        seed=3,
        stage_fingerprint="on-policy",
        on_progress=on_progress,
        white_box=WhiteBox(live=str(models / "teacher")),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder / "student", seed=1)
    make_tiny_model(folder / "teacher", hidden=48, seed=2)
    return folder


def test_a_stopped_run_goes_on_with_the_same_answers(tmp_path: Path, models: Path) -> None:
    train(tmp_path / "whole", models)
    lines = [line for line in metrics(tmp_path / "whole") if "loss" in line]
    assert all("reverse_kl" in line["parts"] for line in lines)
    train(tmp_path / "text", models, on_policy=None)
    assert weights(tmp_path / "text") != weights(tmp_path / "whole")

    def stop(label: str, done: int, total: int, note: str) -> None:
        if done == 6 and "loss" in note:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", models, on_progress=stop, save_every=4)
    train(tmp_path / "stopped", models, save_every=4)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
