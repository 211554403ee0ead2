"""A teacher beside the student: it reads its own prompts, and only tokens that both have."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.data.collate import collate
from mwalimu.data.layout import PADDED
from mwalimu.data.tokenize import Encoded, encode_example, prepare_tokenizer
from mwalimu.errors import UnknownTeacherModel
from mwalimu.finetune.teacher.live import LiveTeacher
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import Needs
from mwalimu.finetune.teaching import accumulate
from mwalimu.objectives.packing import BLOCKS
from mwalimu.objectives.targets import LiveTarget
from tests.finetune import exact
from tests.finetune.jobs import chat, sums
from tests.finetune.taught import CPU, ROWS, Pair, config_of, make_pair, taught
from tests.tiny import CHAT_TEMPLATE, make_tiny_model, make_tokenizer

OWN_TEMPLATE = "{{ '<s><|system|>be brief<|end|>' }}" + CHAT_TEMPLATE
TARGET = Needs(target=True)


def prepared(template: str = CHAT_TEMPLATE) -> Any:
    tokenizer = make_tokenizer(template)
    prepare_tokenizer(tokenizer)
    return tokenizer


def make_teacher(folder: Path, *, template: str = CHAT_TEMPLATE, padding: int = 0) -> Path:
    return make_tiny_model(
        folder,
        hidden=48,
        layers=3,
        seed=1,
        spread=0.25,
        tokenizer=make_tokenizer(template),
        padding=padding,
    )


def encode(tokenizer: Any, row: dict[str, Any], max_length: int = 500) -> Encoded:
    key = next(iter(JobRows.of(tokenizer, [row]).examples))
    return encode_example(tokenizer, row["messages"], max_length=max_length, key=key)


def logits_of(live: LiveTeacher, rows: list[Encoded]) -> torch.Tensor:
    target = live.look(collate(rows, pad_id=0, device=CPU)).target
    assert isinstance(target, LiveTarget)
    return target.head.logits(target.hidden_NH)


def expected_logits(model: Any, rows: list[Encoded], width: int) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([exact.see(model, row).logits_nV for row in rows])[:, :width]


def close(found_NV: torch.Tensor, expected_NV: torch.Tensor) -> None:
    torch.testing.assert_close(found_NV.double(), expected_NV, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("packings", [(), (BLOCKS,)])
@pytest.mark.parametrize("length", [500, 16])
def test_it_sees_its_own_prompt_and_the_students_answer(
    tmp_path: Path, length: int, packings: Any
) -> None:
    """Also where the student's row was cut: the prompts are of other lengths."""
    folder = make_teacher(tmp_path / "teacher", template=OWN_TEMPLATE)
    student, teacher = prepared(), prepared(OWN_TEMPLATE)
    rows = [chat("a", "12+13", "twenty five"), *sums(3)]
    encoded = [encode(student, row, length) for row in rows]
    assert encoded[0].truncated == (length < 20)
    own = []
    for row, short in zip(rows, encoded, strict=True):
        whole = encode(teacher, row)
        cut = len(whole.ids) - (whole.targets - short.targets)
        own.append(whole.with_answer(whole.prompt, whole.ids[len(whole.prompt) : cut]))
        assert exact.labels_of(own[-1]).tolist() == exact.labels_of(short).tolist()
    live = LiveTeacher(
        TARGET, str(folder), CPU, JobRows.of(student, rows), autocast=False, packings=packings
    )
    assert live.forward.slack == (BLOCKS.slack if packings else PADDED)
    expected_NV = expected_logits(exact.load(folder), own, len(student))
    close(logits_of(live, encoded), expected_NV)
    blind_NV = expected_logits(exact.load(folder), encoded, len(student))
    assert float((blind_NV - expected_NV).abs().max()) > 0.1


def test_padding_and_control_tokens_of_its_own_get_no_mass(tmp_path: Path) -> None:
    folder = make_teacher(tmp_path / "teacher", padding=26)
    student = prepared()
    encoded = [encode(student, row) for row in ROWS[:3]]
    rows = JobRows.of(student, ROWS)
    live = LiveTeacher(TARGET, str(folder), CPU, rows, autocast=False)
    found_NV = logits_of(live, encoded)
    assert found_NV.shape[1] == len(student)
    close(found_NV, expected_logits(exact.load(folder), encoded, len(student)))

    more = make_tokenizer()
    more.add_special_tokens({"additional_special_tokens": ["<|tool|>", "<|call|>"]})
    wider = make_tiny_model(tmp_path / "wider", tokenizer=more, spread=0.25)
    live = LiveTeacher(TARGET, str(wider), CPU, rows, autocast=False)
    assert logits_of(live, encoded).shape[1] == len(student) == len(more) - 2


def test_a_student_with_more_tokens_gets_nothing_there(tmp_path: Path) -> None:
    """The teacher has no such token, so that its probability is 0: the loss drives it down."""
    folder = make_teacher(tmp_path / "teacher")
    padded = make_tiny_model(tmp_path / "student", seed=2, spread=0.25, padding=8)
    config = config_of(Pair(folder, padded), "forward_kl", finetune={"teacher": "live"})
    one = taught(tmp_path / "run", config)
    teacher = exact.load(folder)

    def loss_of(seen: exact.Seen, row: Encoded) -> torch.Tensor:
        p_nV = expected_logits(teacher, [row], 1000).softmax(1)
        p_nV = torch.cat([p_nV, torch.zeros(len(p_nV), 8)], 1)
        return exact.kl(p_nV, seen.logits_nV.softmax(1)).sum()

    value, expected = exact.gradients(one.model, one.encoded, loss_of)
    one.model.zero_grad()
    assert float(accumulate(one.teaching, one.batches(5)).loss) == pytest.approx(value, rel=1e-4)
    exact.compare(one.model, expected)


def test_maps_of_attention_are_compared_over_the_same_tokens(tmp_path: Path) -> None:
    """So both read the student's row, whatever the teacher's template."""
    folder = make_teacher(tmp_path / "teacher", template=OWN_TEMPLATE)
    student = make_tiny_model(tmp_path / "student", seed=2, spread=0.25)
    objective = [{"kind": "attention", "layers": [[1, 2]]}, "forward_kl"]
    one = taught(tmp_path / "run", config_of(Pair(folder, student), objective))
    teacher = exact.load(folder)

    def loss_of(seen: exact.Seen, row: Encoded) -> torch.Tensor:
        with torch.no_grad():
            theirs = exact.see(teacher, row)
        p, q = theirs.attention_nT[2], seen.attention_nT[1]
        safe_p, safe_q = torch.where(p > 0, p, 1.0), torch.where(p > 0, q, 1.0)
        divergence = exact.kl(theirs.logits_nV.softmax(1), seen.logits_nV.softmax(1))
        return (p * (safe_p / safe_q).log()).sum() + divergence.sum()

    value, expected = exact.gradients(one.model, one.encoded, loss_of)
    one.model.zero_grad()
    assert float(accumulate(one.teaching, one.batches(5)).loss) == pytest.approx(value, rel=1e-4)
    exact.compare(one.model, expected)


def test_a_row_that_its_template_refuses_is_read_as_the_students(tmp_path: Path) -> None:
    strict = "{{ raise_exception('no') if 'odd' in messages[0]['content'] }}" + CHAT_TEMPLATE
    folder = make_teacher(tmp_path / "teacher", template=strict)
    student = prepared()
    rows = [chat("a", "odd", "one"), chat("b", "even", "two")]
    encoded = [encode(student, row) for row in rows]
    live = LiveTeacher(TARGET, str(folder), CPU, JobRows.of(student, rows), autocast=False)
    close(logits_of(live, encoded), expected_logits(exact.load(folder), encoded, len(student)))


def test_it_is_frozen_and_quiet(tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "pair")
    one = taught(tmp_path / "run", config_of(pair, ["forward_kl", "attention"]))
    assert isinstance(one.source, LiveTeacher)
    one.model.train()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    accumulate(one.teaching, one.batches(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert not one.source.model.training
    assert all(p.grad is None for p in one.source.model.parameters())


def test_a_teacher_that_is_not_there(tmp_path: Path) -> None:
    rows = JobRows.of(prepared(), ROWS)
    with pytest.raises(UnknownTeacherModel, match="cannot be loaded as a teacher"):
        LiveTeacher(TARGET, str(tmp_path / "none"), CPU, rows, autocast=False)
