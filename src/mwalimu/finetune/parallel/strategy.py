"""How a student is spread over the processes: whole in each, or a share of it in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch.distributed.tensor import DTensor

from mwalimu.config import FinetuneConfig
from mwalimu.errors import ConfigError
from mwalimu.finetune.parallel.replicas import Replicas
from mwalimu.finetune.parallel.shards import Shards
from mwalimu.finetune.parallel.world import ALONE, World
from mwalimu.objectives.layers import decoder_layers

T = TypeVar("T")

ONE_PROCESS = Replicas([], ALONE)

ROOM = 0.5
"""Of a GPU's memory, for weights, gradients and moments; the rest is for activations."""


class Strategy(Protocol):
    """`sharded`: the student's weights are no plain tensors while it trains."""

    sharded: bool

    def run(self, step: Callable[[], T]) -> T:
        """Whatever uses the student is called in here."""

    def whole(self) -> AbstractContextManager[None]:
        """Inside, one process may use the student more often than another, without gradients."""

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """After the `last` pass of a step the gradients are the sums over all processes."""


def strategy_of(
    settings: FinetuneConfig, model: Any, learner: torch.nn.Module, world: World, *, autocast: bool
) -> Strategy:
    """As `finetune.parallel` says; auto is ddp where a GPU has room for it, or where it must be.

    `learner` is `model`, or holds it beside what else learns.

    Raises:
        ConfigError: fsdp is asked for weights or moments that cannot be cut.
    """
    why_whole = _why_whole(settings, learner)
    if world.size == 1 or settings.parallel == "ddp":
        return Replicas(list(learner.parameters()), world)
    if settings.parallel == "auto" and (why_whole or has_room(state_bytes(learner))):
        return Replicas(list(learner.parameters()), world)
    if why_whole:
        raise ConfigError(why_whole, where="finetune.parallel", fix="use ddp")
    return Shards(learner, decoder_layers(model), world, autocast=autocast)


def _why_whole(settings: FinetuneConfig, learner: torch.nn.Module) -> str:
    """What of the student cannot be cut into shares, in words; nothing if all can."""
    if settings.optimiser != "adamw":
        return f"{settings.optimiser} keeps moments in blocks, which fsdp would cut through"
    if any(p.requires_grad and p.dtype != torch.float32 for p in learner.parameters()):
        return "under fsdp what learns is in float32, and student.dtype says otherwise"
    return ""


def state_bytes(learner: torch.nn.Module) -> int:
    """Of the weights, and of gradients and two moments of those that learn."""
    return sum(p.nbytes * (4 if p.requires_grad else 1) for p in learner.parameters())


def has_room(size: int, share: float = ROOM) -> bool:
    """Whether `share` of this process's GPU holds so many bytes; on CPUs always."""
    if not torch.cuda.is_available():
        return True
    return size <= share * torch.cuda.mem_get_info()[1]


def clip_norm(parameters: Iterable[torch.nn.Parameter], limit: float) -> torch.Tensor:
    """The norm of all gradients together, whoever holds them; scales them to at most `limit`."""
    having = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(
        [p.grad for p in having if p.grad is not None], foreach=True
    )
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    torch.nn.utils.clip_grads_with_norm_(having, limit, norm, foreach=True)
    return norm
