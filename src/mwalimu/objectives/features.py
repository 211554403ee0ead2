"""Matching hidden states: the student's at a layer, projected if need be, and the teacher's.

Sums over tokens, one a layer pair, undivided as every loss here. Their unit is not the nat: a
squared distance in units of the teacher's states (or of their RMS), or 1 - cosine, which is none.

Shapes: N tokens, H hidden of either, P layer pairs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch.nn import functional

from mwalimu.objectives.layers import LayerPair

FeatureKind = Literal["mse", "cosine"]
FEATURE_KINDS: tuple[str, ...] = get_args(FeatureKind)

EPSILON = 1e-6
"""Added to the mean square before its root is divided by."""


def feature_loss(
    students: Sequence[torch.Tensor],
    teachers: Sequence[torch.Tensor],
    kind: FeatureKind,
    scale: float,
    *,
    normalise: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale * the sum over pairs, sums_P without scale or gradient), in at least float32.

    - `mse`: mean over H of (s - t)^2 (FitNets, Romero et al. 2015, arXiv 1412.6550, section 2.2).
    - `cosine`: 1 - s.t / (|s| |t|) (DistilBERT, Sanh et al. 2019, arXiv 1910.01108, section 3).

    Args:
        students: [N, H] a pair, already projected to the teacher's size; gradients go here.
        teachers: [N, H] a pair, any float type.
        normalise: divides each state by its root mean square first, so that `mse` is about
            directions and no layer outweighs another; `cosine` does so anyhow.
    """
    sums = [
        _FeatureSum.apply(student_NH, teacher_NH, kind, normalise)  # type: ignore[no-untyped-call]
        for student_NH, teacher_NH in zip(students, teachers, strict=True)
    ]
    sums_P = torch.stack(sums)
    return scale * sums_P.sum(), sums_P.detach()


class Projections(torch.nn.Module):
    """A linear map without bias per layer pair, from the student's size to the teacher's.

    It learns beside the student and is not published with it. With equal sizes there is none, and
    states pass as they are, unless `always` asks for it.

    A matrix starts as orthogonal rows or columns, scaled so that a state keeps its RMS on average,
    drawn from (seed, pair): other pairs and the order of modules change nothing.
    """

    def __init__(
        self,
        pairs: Sequence[LayerPair],
        student_size: int,
        teacher_size: int,
        *,
        seed: int,
        always: bool = False,
    ) -> None:
        super().__init__()
        self.maps = torch.nn.ModuleDict()
        if student_size == teacher_size and not always:
            return
        for pair in pairs:
            self.maps[_key(pair)] = _linear(student_size, teacher_size, f"{seed}:{_key(pair)}")

    def forward(self, states_NH: torch.Tensor, pair: LayerPair) -> torch.Tensor:
        """[N, H of the teacher]; in the matrix's type where autocast asks for no other."""
        if not self.maps:
            return states_NH
        linear: Any = self.maps[_key(pair)]
        projected: torch.Tensor = linear(states_NH.to(linear.weight.dtype))
        return projected


class _FeatureSum(torch.autograd.Function):
    """Forms the gradient at once: one [N, H] is kept for a pair, not its float32 copies."""

    @staticmethod
    def forward(
        ctx: Any,
        student_NH: torch.Tensor,
        teacher_NH: torch.Tensor,
        kind: FeatureKind,
        normalise: bool,
    ) -> torch.Tensor:
        wide = torch.promote_types(student_NH.dtype, torch.float32)
        wanted = ctx.needs_input_grad[0]
        with torch.enable_grad(), torch.autocast(student_NH.device.type, enabled=False):
            leaf_NH = student_NH.detach().to(wide).requires_grad_(wanted)
            total = _distances(leaf_NH, teacher_NH.detach().to(wide), kind, normalise).sum()
        if wanted:
            ctx.grad_NH = torch.autograd.grad(total, leaf_NH)[0].to(student_NH.dtype)
        return total.detach()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return (ctx.grad_NH * grads[0]).to(ctx.grad_NH.dtype), None, None, None


def _distances(
    student_NH: torch.Tensor, teacher_NH: torch.Tensor, kind: FeatureKind, normalise: bool
) -> torch.Tensor:
    if kind == "cosine":
        return 1 - functional.cosine_similarity(student_NH, teacher_NH, dim=-1)
    if normalise:
        student_NH, teacher_NH = _unit_rms(student_NH), _unit_rms(teacher_NH)
    return (student_NH - teacher_NH).square().mean(-1)


def _unit_rms(states_NH: torch.Tensor) -> torch.Tensor:
    return states_NH * states_NH.square().mean(-1, keepdim=True).add(EPSILON).rsqrt()


def _key(pair: LayerPair) -> str:
    return f"{pair.student}-{pair.teacher}"


def _linear(student_size: int, teacher_size: int, seed: str) -> torch.nn.Linear:
    generator = torch.Generator().manual_seed(random.Random(seed).getrandbits(63))
    linear = torch.nn.Linear(student_size, teacher_size, bias=False, device="meta")
    linear.to_empty(device="cpu")  # the default start would draw from the global generator
    # With more outputs than inputs the same length is spread over more numbers.
    gain = max(1.0, teacher_size / student_size) ** 0.5
    torch.nn.init.orthogonal_(linear.weight, gain, generator=generator)
    return linear
