"""Training under a rounding: what the forward pass sees, where the gradient goes, what is saved."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mwalimu.finetune.finetune import train_student
from mwalimu.finetune.student.fake_quantised import Rounding, fake_quantise, unrounded
from mwalimu.objectives.forward import Forward
from tests.finetune.jobs import settings, student, sums
from tests.finetune.test_resume import interrupt_at
from tests.tiny import make_tiny_model

IDS = torch.tensor([[7, 9, 11, 30, 40]])


def quarters(weight: torch.Tensor) -> torch.Tensor:
    return (weight * 4).round() / 4


def tenths(weight: torch.Tensor) -> torch.Tensor:
    return (weight * 10).round() / 10


def of_all(model: Any) -> dict[str, Rounding]:
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    return dict.fromkeys(names, quarters) | {"model.embed_tokens": tenths}


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """Embedding and head are one matrix, rounded in two ways."""
    found = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path / "m", spread=0.3))
    found.lm_head.weight = found.model.embed_tokens.weight
    return found


def written_out(model: Any) -> Any:
    """The same numbers in plain modules, embedding and head apart: the reference."""
    plain = copy.deepcopy(model)
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.detach().clone())
    with torch.no_grad():
        for name, rounding in of_all(plain).items():
            weight = plain.get_submodule(name).weight
            weight.copy_(rounding(weight))
    return plain


def test_it_computes_as_the_rounded_model_and_the_gradient_goes_straight_through(
    model: Any,
) -> None:
    plain = written_out(model)
    fake_quantise(model, of_all(model))
    for one in (model, plain):
        one(IDS, labels=IDS).loss.backward()
    assert torch.equal(model(IDS).logits, plain(IDS).logits)
    learned = dict(model.named_parameters())
    for name, parameter in plain.named_parameters():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            continue
        own = learned.get(name)
        if own is None:
            own = learned[f"{name.removesuffix('.weight')}.parametrizations.weight.original"]
        torch.testing.assert_close(own.grad, parameter.grad)
    both = plain.model.embed_tokens.weight.grad + plain.lm_head.weight.grad
    shared = learned["model.embed_tokens.parametrizations.weight.original"]
    torch.testing.assert_close(shared.grad, both)
    assert "lm_head.parametrizations.weight.original" not in learned  # still one matrix


def test_undone_it_is_the_plain_model_with_the_unrounded_weights(model: Any) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fake_quantise(model, of_all(model))
    unrounded(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert type(model.lm_head) is torch.nn.Linear
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_rounded_head_keeps_the_fused_loss(model: Any) -> None:
    plain = written_out(model)
    fake_quantise(model, of_all(model))
    forward = Forward(model)
    states, expected = (one(IDS, torch.arange(5)) for one in (forward, Forward(plain)))
    assert forward.fused
    torch.testing.assert_close(states.logits(), expected.logits())


def train(model: Path, folder: Path, **more: Any) -> dict[str, Any]:
    return train_student(
        student(model),
        settings(),
        sums(64),
        sums(8, seed=1),
        folder,
        seed=0,
        stage_fingerprint="s",
        roundings=of_all,
        **{"on_progress": lambda *_: None} | more,
    )


def test_stopped_it_goes_on_to_the_same_unrounded_weights(tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "m", spread=0.1)
    summary = train(tiny, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "stopped", on_progress=interrupt_at(6))
    again = train(tiny, tmp_path / "stopped")
    whole, stopped = (
        load_file(tmp_path / name / "student" / "model.safetensors")
        for name in ("whole", "stopped")
    )
    assert whole.keys() == load_file(tiny / "model.safetensors").keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert any(not torch.equal(tensor, quarters(tensor)) for tensor in whole.values())
    assert again["validation_loss_before"] == summary["validation_loss_before"]
    assert summary["validation_loss"] < summary["validation_loss_before"]


def test_the_loss_before_is_that_of_the_rounded_model(tmp_path: Path) -> None:
    """Trained without a rounding from a folder of rounded weights, whose first loss is the same."""
    tiny = make_tiny_model(tmp_path / "m", spread=0.1)
    found = AutoModelForCausalLM.from_pretrained(tiny)
    rounded = written_out(found)
    rows = sums(8, seed=1)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    nats, count = 0.0, 0
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            row["messages"][:1], add_generation_prompt=True, return_dict=False
        )
        ids = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        labels = [-100] * len(prompt) + ids[len(prompt) :]
        with torch.no_grad():
            loss = rounded(torch.tensor([ids]), labels=torch.tensor([labels])).loss
        targets = len(ids) - len(prompt)
        nats, count = nats + float(loss) * targets, count + targets
    summary = train(tiny, tmp_path / "out")
    assert summary["validation_loss_before"] == pytest.approx(nats / count, rel=1e-5)
