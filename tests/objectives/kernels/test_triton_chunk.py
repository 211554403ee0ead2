"""The Triton version against float64 formulas and against the torch version.

On CUDA the tests run for real. Without it, one test runs all the others in a process of their own
under Triton's interpreter, which executes kernels with numpy, and another compiles the kernels for
cards that are not there: the interpreter accepts much that the compiler does not.
"""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.objectives import divergence
from mwalimu.objectives.divergence import DIVERGENCES
from mwalimu.objectives.kernels import torch_chunk
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import DenseTarget, SampledTarget, SparseTarget, Target
from tests.objectives import cases
from tests.objectives.reference import answer

triton = pytest.importorskip("triton", reason="no Triton here")

from mwalimu.objectives.kernels import triton_chunk, triton_kernels  # noqa: E402

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if CUDA and not INTERPRETED else "cpu"
on_a_card = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="run by the interpreter's test"),
]
without_a_card = pytest.mark.skipif(CUDA or INTERPRETED, reason="the kernels run in this process")
NONE = -math.inf
AWKWARD = ((1, 4095), (2, 1), (3, 9001))
"""Rows and width: a block less one, one token, some blocks and a bit that no vector divides."""


def executed(test: Any) -> Any:
    for mark in on_a_card:
        test = mark(test)
    return test


@without_a_card
@pytest.mark.slow
def test_the_interpreter_passes_all_the_others() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@without_a_card
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_the_compiler_takes_every_kernel(capability: int) -> None:
    """In a process of its own: a compiler that fails may take its process along."""
    code = f"from {__name__} import compile_all; compile_all({capability})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def compile_all(capability: int) -> None:
    scores, number, table = "*fp32", "i32", "*fp32"
    matrices = [scores, number, number, scores, number, number, table, number]
    compiled(
        capability,
        triton_kernels.sum_exponentials,
        [scores, number, number, table, table, table],
        {"BLOCK": triton_kernels.SUM_BLOCK},
    )
    for kind in DIVERGENCES:
        compiled(
            capability,
            triton_kernels.sum_divergence,
            [*matrices, table, table],
            {"KIND": triton_kernels.CODES[kind], "BLOCK": triton_kernels.DIVERGENCE_BLOCK},
        )
        compiled(
            capability,
            triton_kernels.write_gradient,
            matrices,
            {
                "TERMS": 2,
                "KINDS": triton_kernels.packed(["", kind]),
                "BLOCK": triton_kernels.GRADIENT_BLOCK,
            },
        )


def compiled(capability: int, kernel: Any, types: Sequence[str], constants: dict[str, Any]) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if "constexprs" not in inspect.signature(ASTSource).parameters:
        return  # Triton 3.2 spells this otherwise
    names = kernel.arg_names
    source = ASTSource(
        kernel,
        dict(zip(names, types, strict=False)) | dict.fromkeys(constants, "constexpr"),
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in range(len(types))},
    )
    target = GPUTarget("cuda", capability, 32)
    assert triton.compile(source, target=target, options=triton_kernels.OPTIONS).asm["cubin"]


def on_device(value: Any) -> Any:
    """A target or a part with its tensors there."""
    if value is None:
        return None
    held = {field.name: getattr(value, field.name) for field in fields(value)}
    tensors = {name: t.to(DEVICE) for name, t in held.items() if isinstance(t, torch.Tensor)}
    return replace(value, **tensors)


def run(
    logits_CV: torch.Tensor, labels_C: torch.Tensor, target: Any, parts: Sequence[Part], scale: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """(values, gradient) of the Triton version."""
    grad_CV = logits_CV.to(DEVICE, copy=True)
    moved = [on_device(part) for part in parts]
    values_PC = triton_chunk.chunk_loss(
        grad_CV, labels_C.to(DEVICE), on_device(target), moved, scale
    )
    return values_PC.cpu(), grad_CV.cpu()


@executed
@pytest.mark.parametrize("form", cases.FORMS)
def test_values_and_gradients_are_those_of_the_formula(form: str) -> None:
    """Errors as in the torch version's test, which says what they are relative to."""
    rng = np.random.default_rng(len(form))
    tokens, kind = 8, np.float32
    for _ in range(60 if CUDA else 5):
        width = int(rng.integers(8, 40))
        scores_NV = cases.student_scores(rng, tokens, width).astype(kind).astype(np.float64)
        teacher = cases.teacher_of(rng, form, cases.teacher_scores(rng, scores_NV), kind)
        losses, parts = cases.random_losses(rng, form, tokens, kind)
        labels_N = rng.integers(width, size=tokens)
        expected = answer(scores_NV, labels_N, teacher, losses, 0.5)
        values_PN, grad_NV = run(
            torch.tensor(scores_NV.astype(kind)),
            torch.tensor(labels_N),
            cases.target_of(teacher, torch.float32),
            parts,
            0.5,
        )
        off_P = abs(values_PN.sum(1).double().numpy() - expected.sums_P)
        off_N = np.linalg.norm(grad_NV.double().numpy() - expected.grad_NV, axis=1)
        size_N = np.linalg.norm(expected.grad_NV, axis=1)
        assert (off_P <= 1e-6 * expected.size_P).all()
        assert (off_N <= 1e-6 * np.maximum(size_N, expected.grad_size_N)).all()


def logits_like(seed: int, rows: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, width, generator=generator)


def targets(rows: int, width: int) -> dict[str, Target | None]:
    logp_CV = logits_like(1, rows, width).log_softmax(1)
    named = max(1, min(5, width - 1))
    logp_CK, ids_CK = logp_CV.topk(named, dim=1)
    tail_C = logp_CV.scatter(1, ids_CK, NONE).logsumexp(1)
    logp_CK[:, 2:4] = NONE  # pads, one of which bears the id of the best
    tail_C = tail_C.logaddexp(logp_CV.gather(1, ids_CK[:, 2:4]).logsumexp(1))
    ids_CK[:, 2:4] = ids_CK[:, :1]
    share_CK = logp_CV.gather(1, ids_CK[:, :2]).softmax(1)
    return {
        "labels": None,
        "sampled": SampledTarget(ids_CK[:, :2], share_CK),
        "topk": SparseTarget(ids_CK, logp_CK, tail_C),
        "half": DenseTarget(logp_CV.half()),
        "narrow": DenseTarget(logp_CV[:, : max(1, width - 7)].bfloat16()),
        "wide": DenseTarget(logits_like(2, rows, width + 9)),
    }


@executed
@pytest.mark.parametrize(("rows", "width"), AWKWARD)
def test_widths_that_no_block_divides_give_what_torch_gives(rows: int, width: int) -> None:
    logits_CV = logits_like(0, rows, width)
    labels_C = torch.arange(rows) * 7 % width
    for name, target in targets(rows, width).items():
        kinds = {"labels": [], "sampled": ["forward_kl"]}.get(name, list(DIVERGENCES))
        each_C = torch.linspace(0.5, 3.0, rows)
        parts = [Part("cross_entropy", each_C), Part("cross_entropy", 0.5, 2.0)]
        parts += [Part(kind, 0.3, each_C, square=False) for kind in kinds]
        values_PC, grad_CV = run(logits_CV, labels_C, target, parts, 0.1)
        expected_CV = logits_CV.double()
        expected_PC = torch_chunk.chunk_loss(expected_CV, labels_C, target, parts, 0.1)
        torch.testing.assert_close(values_PC, expected_PC, rtol=3e-6, atol=3e-6)
        off = (grad_CV - expected_CV).norm() / expected_CV.norm().clamp(min=0.01)
        assert off < 1e-6, name


@executed
def test_a_sure_student_has_no_loss_at_any_temperature() -> None:
    logits_CV = torch.zeros(2, 300)
    logits_CV[:, 7] = 123.456
    parts = [Part("cross_entropy", 1.0, 0.7), Part("cross_entropy", 1.0, torch.tensor([0.9, 1.1]))]
    values_PC, grad_CV = run(logits_CV, torch.tensor([7, 7]), None, parts, 1.0)
    assert not values_PC.any() and grad_CV.abs().max() < 1e-6


@executed
@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_student_like_its_teacher_stays(kind: str) -> None:
    logits_CV = logits_like(0, 2, 5000)
    values_PC, grad_CV = run(
        logits_CV, torch.zeros(2, dtype=torch.long), DenseTarget(logits_CV), [Part(kind)], 1.0
    )
    assert values_PC.abs().max() < 1e-6 and grad_CV.abs().max() < 1e-6


@executed
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, of the interpreter
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_in_the_logits_is_not_finite_in_the_loss(bad: float) -> None:
    """A trainer looks at the loss; a maximum that drops NaN would hide it."""
    logits_CV = logits_like(0, 1, 5000)
    logits_CV[0, 4500] = bad
    parts = [Part(kind) for kind in DIVERGENCES]
    for target in (DenseTarget(logits_like(1, 1, 5000)), targets(1, 5000)["topk"]):
        values_PC, _ = run(logits_CV, torch.zeros(1, dtype=torch.long), target, parts, 1.0)
        assert not values_PC.isfinite().any()


@executed
def test_two_runs_agree_to_the_last_bit() -> None:
    logits_CV = logits_like(0, 2, 5000)
    labels_C = torch.tensor([3, 4999])
    parts = [Part("cross_entropy"), Part("jsd", 1.0, 2.0)]
    for target in (targets(2, 5000)["half"], targets(2, 5000)["topk"]):
        first, second = (run(logits_CV, labels_C, target, parts, 1.0) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@executed
def test_rows_that_lie_apart_stay_apart() -> None:
    """A teacher cut to the student's vocabulary has longer strides than rows."""
    whole_CU = logits_like(1, 3, 700)
    logits_CV, labels_C, parts = logits_like(0, 3, 600), torch.zeros(3).long(), [Part("jsd")]
    values_PC, grad_CV = run(logits_CV, labels_C, DenseTarget(whole_CU[:, :600]), parts, 1.0)
    turned = DenseTarget(whole_CU[:, :600].t().contiguous().t())
    for target in (DenseTarget(whole_CU[:, :600].clone()), turned):
        expected = run(logits_CV, labels_C, target, parts, 1.0)
        assert torch.equal(values_PC, expected[0]) and torch.equal(grad_CV, expected[1])


@pytest.mark.skipif(not CUDA or INTERPRETED, reason="needs 10 GB on a card")
@pytest.mark.gpu
def test_a_chunk_may_have_more_scores_than_an_int_counts() -> None:
    rows, width = 16_400, 131_072
    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("too little memory is free")
    logits_CV = torch.randn(rows, width, device="cuda")
    labels_C = torch.arange(rows, device="cuda")
    last_1V = logits_CV[-1:].clone()
    values_PC = triton_chunk.chunk_loss(logits_CV, labels_C, None, [Part("cross_entropy")], 1.0)
    expected = torch.nn.functional.cross_entropy(last_1V, labels_C[-1:], reduction="none")
    torch.testing.assert_close(values_PC[0, -1:].float(), expected)


def test_numbers_that_stand_twice_are_the_same() -> None:
    assert triton_kernels.NO_MASS.value == divergence.NO_MASS
    assert triton_kernels.LOG_FLOOR.value == divergence.LOG_FLOOR
    assert set(triton_kernels.CODES) == {"", *DIVERGENCES}
    assert sorted(triton_kernels.CODES.values()) == list(range(7))
