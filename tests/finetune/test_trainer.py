"""The loop: careful with numbers, honest about the best epoch."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mwalimu.data.tokenize import encode_example
from mwalimu.errors import NonFiniteLoss
from mwalimu.finetune.metrics import MetricsLog
from mwalimu.finetune.rows import encode_splits
from mwalimu.finetune.student import load_student
from mwalimu.finetune.trainer import Job, Trainer
from tests.finetune.jobs import chat, metrics, settings, steps_of, student, sums, train


def make_trainer(tiny: Path, folder: Path, **changes: Any) -> Trainer:
    model, tokenizer = load_student(student(tiny), seed=0)
    rows = encode_splits(tokenizer, sums(16), [], 64)[0]
    job = Job(settings(**changes), rows, [], tokenizer.pad_token_id, 0, "job")
    return Trainer(model, job, folder, lambda *_: None)


def test_a_nan_is_caught_before_the_step(tmp_path: Path, tiny: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    trainer.model.model.norm.register_forward_hook(lambda *call: call[-1] * float("nan"))
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    with pytest.raises(NonFiniteLoss, match=r"loss is not finite at step 1.*lower finetune.learn"):
        trainer.fit()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, before[name])
    assert not trainer.optimiser.state
    assert metrics(tmp_path) == []


def test_an_infinite_gradient_is_caught_before_the_step(tmp_path: Path, tiny: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    weight = trainer.model.model.norm.weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    before = weight.detach().clone()
    with pytest.raises(NonFiniteLoss, match="gradient is not finite at step 1"):
        trainer.fit()
    assert torch.equal(weight, before) and not trainer.optimiser.state


def test_a_job_that_diverges_names_the_step_and_publishes_nothing(
    tmp_path: Path, tiny: Path
) -> None:
    with pytest.raises(NonFiniteLoss, match=r"at step \d+"):
        train(tiny, tmp_path, learning_rate=1e38, warmup_ratio=0.0, weight_decay=1.0)
    assert not (tmp_path / "student").exists() and not (tmp_path / "trained.json").exists()
    assert all(math.isfinite(line["loss"]) for line in metrics(tmp_path))


def test_the_best_epoch_is_published_and_training_stops_early(tmp_path: Path, tiny: Path) -> None:
    """Ten rows learned by heart; the validation rows call for other answers."""
    rows = [chat(str(i), f"{i}", "right") for i in range(10)]
    validation = [chat(str(i), f"{i}", "wrong") for i in range(10)]
    summary = train(
        tiny,
        tmp_path,
        rows=rows,
        validation=validation,
        learning_rate=0.02,
        batch_size=10,
        epochs=40,
        patience=3,
    )
    lines = [line for line in metrics(tmp_path) if "best" in line]
    losses = [line["validation_loss"] for line in lines]
    best = losses.index(min(losses)) + 1
    assert summary["stopped_early"] and summary["epochs"] == best + 3 < 40
    assert summary["best_epoch"] == best and summary["validation_loss"] == min(losses)
    assert [line["epoch"] for line in lines if line["best"]][-1] == best
    assert mean_loss(tmp_path / "student", validation) == pytest.approx(min(losses), rel=1e-4)


def test_the_best_weights_may_be_those_in_the_middle_of_an_epoch(
    tmp_path: Path, tiny: Path
) -> None:
    rows = [chat(str(i), f"{i}", "right") for i in range(12)]
    validation = [chat(str(i), f"{i}", "wrong") for i in range(12)]
    summary = train(
        tiny,
        tmp_path,
        rows=rows,
        validation=validation,
        learning_rate=0.02,
        batch_size=2,
        epochs=40,
        patience=4,
        validate_every=2,
    )
    lines = [line for line in metrics(tmp_path) if "best" in line]
    losses = [line["validation_loss"] for line in lines]
    best = lines[losses.index(min(losses))]
    assert [line["step"] for line in lines] == list(range(2, 2 * len(lines) + 1, 2))
    assert len(lines) == losses.index(min(losses)) + 1 + 4 and summary["stopped_early"]
    assert summary["best_step"] == best["step"] and best["step"] % 6
    assert summary["best_epoch"] == best["epoch"] == pytest.approx(best["step"] / 6, abs=1e-4)
    assert mean_loss(tmp_path / "student", validation) == pytest.approx(min(losses), rel=1e-4)


def mean_loss(folder: Path, rows: list[dict[str, Any]]) -> float:
    """Nats per target token."""
    nats, tokens = nats_and_tokens(folder, rows)
    return nats / tokens


def nats_and_tokens(folder: Path, rows: list[dict[str, Any]]) -> tuple[float, int]:
    """What the answers cost in all, a row at a time in float64, and their tokens."""
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    nats, tokens = 0.0, 0
    for row in rows:
        encoded = encode_example(tokenizer, row["messages"], max_length=64)
        with torch.no_grad():
            logits_TV = model(input_ids=torch.tensor([encoded.ids])).logits[0]
        scores_TV = logits_TV.log_softmax(-1)
        for position in range(1, len(encoded.ids)):
            if encoded.labels_mask[position]:
                nats -= float(scores_TV[position - 1, encoded.ids[position]])
                tokens += 1
    return nats, tokens


def test_without_validation_rows_the_last_weights_are_taken(tmp_path: Path, tiny: Path) -> None:
    summary = train(tiny, tmp_path, epochs=3, patience=1)
    assert summary["best_epoch"] == summary["epochs"] == 3
    assert summary["validation_loss"] is None and not summary["stopped_early"]
    assert not any("validation_loss" in line for line in metrics(tmp_path))


def test_metrics_say_what_happened(tmp_path: Path, tiny: Path) -> None:
    summary = train(tiny, tmp_path, validation=sums(8, seed=1), accumulation=3, batch_size=5)
    lines = metrics(tmp_path)
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == summary["steps"] == 10  # 64 rows, 13 batches, 5 steps an epoch
    keys = {"step", "epoch", "loss", "parts", "learning_rate", "grad_norm", "tokens", "seconds"}
    keys |= {"tokens_per_second", "mfu", "peak_memory_mib"}
    assert all(line.keys() == keys for line in steps)
    assert all(line["parts"] == {"cross_entropy": pytest.approx(line["loss"])} for line in steps)
    assert steps[-1]["tokens"] == summary["target_tokens"]
    assert [line["epoch"] for line in steps][4::5] == [1.0, 2.0]
    assert [line["seconds"] for line in steps] == sorted(line["seconds"] for line in steps)
    assert max(line["learning_rate"] for line in steps) == 3e-3
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert summary["validation_loss"] == min(x["validation_loss"] for x in lines if "best" in x)


def test_a_long_job_writes_fewer_lines(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", length=0, total_steps=12_000)
    for step in range(1, 12_001):
        log.train({"step": step, "loss": 1.0})
    log.close()
    assert steps_of(tmp_path) == list(range(3, 12_001, 3))


def test_torn_and_later_lines_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, length=0, total_steps=9)
    log.train({"step": 1, "loss": 1.0})
    length = log.sync()
    log.write({"step": 1, "validation_loss": 1.0})
    log.close()
    path.write_bytes(path.read_bytes() + b'{"step": 2, "lo')
    log = MetricsLog(path, length=length, total_steps=9)
    log.train({"step": 2, "loss": 2.0})
    log.close()
    assert metrics(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]


def test_a_file_that_someone_cut_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"ste')
    log = MetricsLog(path, length=1000, total_steps=9)
    log.write({"step": 9})
    log.close()
    assert metrics(tmp_path) == [{"step": 1}, {"step": 9}]


def test_the_process_settings_come_back(tmp_path: Path, tiny: Path) -> None:
    train(tiny, tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.get_num_threads() == 1
