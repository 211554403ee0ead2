"""Every process holds the whole student, and the sum of all gradients (data parallelism).

The student is not wrapped: its decoder and its head are called apart, past the forward pass in
which DistributedDataParallel would prepare its sums. Gradients are summed in buckets as the
backward pass finishes them, so that the sums travel while earlier layers still compute.
Li et al. 2020, PyTorch Distributed, arXiv 2006.15704, section 3.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from mwalimu.finetune.parallel.world import World

BUCKET_BYTES = 64 << 20

T = TypeVar("T")


class Replicas:
    """In a world of one process nothing is summed and nothing is waited for."""

    sharded = False

    def __init__(self, parameters: Sequence[torch.nn.Parameter], world: World) -> None:
        trained = [p for p in parameters if p.requires_grad]
        self.buckets: list[_Bucket] = []
        if world.size > 1:
            for parameter in trained:
                dist.broadcast(parameter.data, 0)
            # The last layers' gradients come first.
            self.buckets = [_Bucket(few) for few in _in_buckets(trained[::-1])]
        self._is_last = False
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._hook_of(bucket)
                )

    def run(self, step: Callable[[], T]) -> T:
        """Whatever uses the student."""
        return step()

    def whole(self) -> AbstractContextManager[None]:
        """Inside, `run` may use the student as often as this process likes."""
        return nullcontext()

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """`last` of the optimiser step: then the gradients of all processes are summed."""
        self._is_last = last
        loss.backward()  # type: ignore[no-untyped-call]
        if last:
            self._start_in_order(lambda bucket: True)
            for bucket in self.buckets:
                bucket.finish()

    def _hook_of(self, bucket: _Bucket) -> Callable[[torch.Tensor], None]:
        def ready(_parameter: torch.Tensor) -> None:
            if self._is_last:
                bucket.waits_for -= 1
                self._start_in_order(lambda bucket: bucket.waits_for <= 0)

        return ready

    def _start_in_order(self, ready: Callable[[_Bucket], bool]) -> None:
        """All processes sum the same buckets in the same order, whichever is ready first."""
        for bucket in self.buckets:
            if not bucket.started:
                if not ready(bucket):
                    return
                bucket.start()


@dataclass(slots=True)
class _Bucket:
    parameters: Sequence[torch.nn.Parameter]
    waits_for: int = 0
    flat: torch.Tensor | None = None
    work: Any = None

    def __post_init__(self) -> None:
        self.waits_for = len(self.parameters)

    @property
    def started(self) -> bool:
        return self.flat is not None

    def start(self) -> None:
        """Behind the gradients stands, for each, how many processes have one."""
        counts = self.parameters[0].detach().new_ones(len(self.parameters))
        grads = []
        for index, parameter in enumerate(self.parameters):
            grads.append(parameter.grad)
            if parameter.grad is None:
                grads[-1] = torch.zeros_like(parameter)
                counts[index] = 0
        self.flat = torch.cat([*(grad.reshape(-1) for grad in grads if grad is not None), counts])
        self.work = dist.all_reduce(self.flat, async_op=True)

    def finish(self) -> None:
        """A parameter that no process reached has no gradient, as with one process."""
        assert self.flat is not None
        self.work.wait()
        sizes = [p.numel() for p in self.parameters]
        *sums, counts = torch.split(self.flat, [*sizes, len(sizes)])
        reached = [True] * len(sizes)
        if any(p.grad is None for p in self.parameters):
            reached = [count > 0 for count in counts.tolist()]
        for parameter, total, there in zip(self.parameters, sums, reached, strict=True):
            parameter.grad = total.view_as(parameter) if there else None
        self.flat, self.work, self.waits_for = None, None, len(sizes)


def _in_buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Neighbours of one type, up to BUCKET_BYTES together."""
    bucket: list[torch.nn.Parameter] = []
    for parameter in parameters:
        held = sum(p.nbytes for p in bucket)
        if bucket and (
            parameter.dtype != bucket[0].dtype or held + parameter.nbytes > BUCKET_BYTES
        ):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
