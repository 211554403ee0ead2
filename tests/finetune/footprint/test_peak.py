"""The peak by formula, against what torch's allocator gives out in trainings of small models."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.footprint import Footprint, Lengths, Setting, frozen_model
from mwalimu.finetune.footprint.peak import Terms, moments
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.finetune.teaching import TEXT_ALONE
from mwalimu.finetune.trainer import Job, Trainer
from mwalimu.objectives.forward import Forward
from mwalimu.objectives.targets import LiveTarget
from tests.finetune.footprint.live_bytes import LiveBytes
from tests.finetune.footprint.settings import config_of, setting, shape, student_of

STEPS = 3
WITHIN = 0.05

LORA = {"method": "lora", "lora_rank": 8}
DEEP = {"num_hidden_layers": 5}
WIDE_VOCABULARY = {"vocab_size": 6000}


class Live:
    """A teacher at work, without tokenizers."""

    hidden_size = 0
    waits = False

    def __init__(self, config: Any) -> None:
        how = setting(config, Lengths(longest=2, targets=1))
        self.model = student_of(config, how, seed=1).requires_grad_(False).eval()
        self.forward = Forward(self.model)

    def ahead(self, batch: Any) -> None: ...

    @torch.no_grad()
    def look(self, batch: Any) -> TeacherView:
        states = self.forward(batch.ids_BT, batch.positions_N, batch.layout)
        assert states.head is not None
        return TeacherView(LiveTarget(states.hidden_NX, states.head))

    def close(self) -> None: ...


def trained(
    config: Any, how: Setting, folder: Path, teacher: Any = None, *, watched: bool = True
) -> int:
    """The most bytes that were alive; 0 if nobody watched."""
    lengths, settings = how.lengths, how.finetune
    count = STEPS * settings.batch_size * settings.accumulation
    row = Encoded.of(
        [3 + i % 90 for i in range(lengths.longest)],
        [i >= lengths.longest - lengths.targets for i in range(lengths.longest)],
    )
    with LiveBytes() if watched else nullcontext() as live:
        model = student_of(config, how)
        job = Job(
            settings=settings,
            train=[row] * count,
            validation=[row] * settings.batch_size if how.validates else [],
            pad_id=0,
            seed=0,
            fingerprint="",
            autocast=how.precision.autocast,
            parts=settings.objective or TEXT_ALONE,
            source=None if teacher is None else Live(teacher),
        )
        Trainer(model, job, folder, lambda *_: None).fit()
    return live.peak if live is not None else 0


def of_fit(how: Setting) -> Footprint:
    """Publishing comes after it; rows are no tensors."""
    found = (one for one in moments(how) if one.moment != "publishing")
    best = max(found, key=lambda one: one.terms.total)
    return Footprint(best.moment, Terms(*best.terms)._replace(rows=0.0))


FROZEN = {"freeze": ("embeddings", "layers.0-1")}
FEW = {"targets": 4}
"""Few tokens are learned, so that there are few logits."""
TWICE = {"batch_size": 8, "activation_checkpointing": "on"}
EIGHT_BITS = {"batch_size": 1, "optimiser": "adamw_8bit"}
TIED = {"vocab_size": 20_000, "tie_word_embeddings": True}
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    # moment, family, sizes, settings
    "loss": ("loss", "llama", WIDE_VOCABULARY, {}),
    "loss under LoRA": ("loss", "llama", WIDE_VOCABULARY, LORA),
    "loss, accumulated": ("loss", "llama", WIDE_VOCABULARY, {"accumulation": 2}),
    "loss in half precision": ("loss", "llama", WIDE_VOCABULARY, {"dtype": "bfloat16"}),
    "loss under autocast": ("loss", "llama", WIDE_VOCABULARY, {"autocast": True}),
    "loss, LoRA under autocast": ("loss", "llama", WIDE_VOCABULARY, LORA | {"autocast": True}),
    "loss, capped": ("loss", "gemma2", WIDE_VOCABULARY, {"batch_size": 1}),
    "loss, frozen below": ("loss", "llama", WIDE_VOCABULARY, FROZEN),
    "loss, DoRA": ("loss", "llama", WIDE_VOCABULARY, LORA | {"method": "dora"}),
    "backward": ("backward", "llama", DEEP, FEW),
    "backward, fused": ("backward", "phi3", DEEP, FEW),
    "backward, capped": ("backward", "gemma2", DEEP, FEW),
    "backward under LoRA": ("backward", "llama", DEEP, LORA | FEW),
    "backward under autocast": ("backward", "llama", DEEP, {"autocast": True} | FEW),
    "backward with checkpointing": ("backward", "llama", DEEP, TWICE),
    "backward, LoRA with checkpointing": ("backward", "llama", DEEP, LORA | TWICE),
    "embeddings, tied": ("embeddings", "llama", TIED, {"batch_size": 1} | FEW),
    "embeddings, 8 bits": ("embeddings", "llama", TIED, EIGHT_BITS | FEW),
}


@pytest.mark.parametrize("case", CASES)
def test_the_fullest_moment(case: str, tmp_path: Path) -> None:
    moment, config, how = case_of(case)
    expected = of_fit(how)
    assert expected.moment == moment
    really = trained(config, how, tmp_path)
    assert expected.terms.total == pytest.approx(really, rel=WITHIN)


def case_of(name: str) -> tuple[str, Any, Setting]:
    moment, family, sizes, changes = CASES[name]
    changes = {"batch_size": 4, "epochs": 1} | changes
    lengths = Lengths(longest=128, targets=changes.pop("targets", 64), alike=True)
    config = config_of(family, **sizes)
    return moment, config, setting(config, lengths, **changes)


def test_a_live_teacher(tmp_path: Path) -> None:
    """While the loss runs: its weights, its states, and its logits of a chunk."""
    config = config_of("llama", **WIDE_VOCABULARY)
    large = config_of("llama", **WIDE_VOCABULARY, hidden_size=128, intermediate_size=352)
    how = setting(
        config,
        Lengths(longest=128, targets=64, alike=True),
        batch_size=4,
        epochs=1,
        objective="forward_kl",
        teacher=frozen_model(shape(large), "float32", "cpu"),
    )
    expected = of_fit(how)
    really = trained(config, how, tmp_path, teacher=large)
    assert expected.moment == "loss"
    assert expected.terms.total == pytest.approx(really, rel=WITHIN)


def test_publishing(tmp_path: Path) -> None:
    """Looking through the largest matrix for what is not finite, and comparing logits."""
    from mwalimu.finetune.student.adapters import merged
    from mwalimu.finetune.student.parity import Parity
    from mwalimu.finetune.student.publishing import check_finite

    config = config_of("llama", vocab_size=20_000)
    how = setting(config, Lengths(longest=64, targets=64), batch_size=1, **LORA)
    full = setting(config, how.lengths, batch_size=1)
    rows = [list(range(3, 67))] * 4
    with LiveBytes() as of_plain:
        check_finite(student_of(config, full))
    with LiveBytes() as of_adapter:
        model = student_of(config, how)
        parity = Parity(model, rows, autocast=False)
        parity.check(merged(model))
    for one, live in ((full, of_plain), (how, of_adapter)):
        terms = max(
            (m.terms for m in moments(one) if m.moment == "publishing"), key=lambda t: t.total
        )
        beyond = terms.total - terms.gradients - terms.optimiser - terms.rows
        assert beyond == pytest.approx(live.peak, rel=WITHIN)
