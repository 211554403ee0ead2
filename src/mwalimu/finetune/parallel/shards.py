"""Every process holds a share of each weight, gradient and moment (FSDP2).

Zhao et al. 2023, PyTorch FSDP, arXiv 2304.11277; Rajbhandari et al. 2019, ZeRO, arXiv 1910.02054.
A decoder layer's weights are put together while it computes. What belongs to no layer (embeddings,
last norm, head; tied or not) is put together while the forward pass of the outermost module runs,
so the losses, which use the head themselves, run inside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from mwalimu.finetune.parallel.world import World

T = TypeVar("T")


class Shards:
    """All processes use the student equally often: each use is an exchange among them.

    Whoever has less to do than others calls `run` and `backward` with something that counts
    nothing.
    """

    sharded = True

    def __init__(
        self,
        learner: torch.nn.Module,
        layers: Iterable[torch.nn.Module],
        world: World,
        *,
        autocast: bool,
    ) -> None:
        device = next(learner.parameters()).device
        for parameter in learner.parameters():
            if parameter.requires_grad:
                dist.broadcast(parameter.data, 0)
        # Quantised weights cannot be cut; they are frozen, and every process keeps them whole.
        kept = {p for p in learner.parameters() if not _can_be_cut(p)}
        policy = MixedPrecisionPolicy()
        if autocast:
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        mesh = init_device_mesh(device.type, (world.size,))
        cut = [
            fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=kept)
            for module in (*layers, _Root(learner))
        ]
        self.cut = cut
        *self.layers, self.root = cut
        self._whole = False
        for module in cut:
            # Sums, not means: the loss was divided by all processes' tokens already.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            module.set_reduce_scatter_unused_params(True)

    def run(self, step: Callable[[], T]) -> T:
        """Whatever uses the student; a loss must be among what it returns."""
        result: T = self.root(step)  # type: ignore[operator]
        # Else the backward pass takes the outermost module apart.
        if not self._whole and not torch.is_grad_enabled():
            self.root.reshard()
        return result

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, `run` may use the student as often as this process likes, without gradients."""
        self.run(_nothing)  # the layers learn what they are part of
        for layer in self.layers:
            layer.set_reshard_after_forward(False, recurse=False)
        for module in self.cut:
            module.unshard()
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
            for layer in self.layers:
                layer.set_reshard_after_forward(True, recurse=False)
            for module in self.cut:
                module.reshard()

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """The gradients of all processes are summed in every pass: whole ones are kept nowhere."""
        loss.backward()  # type: ignore[no-untyped-call]


class _Root(torch.nn.Module):
    def __init__(self, learner: torch.nn.Module) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, step: Callable[[], Any]) -> Any:
        return step()


def _can_be_cut(parameter: torch.nn.Parameter) -> bool:
    return parameter.is_floating_point() and not is_traceable_wrapper_subclass(parameter)


def _nothing() -> None:
    pass
