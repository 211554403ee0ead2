"""Who trains together, and what the processes tell each other beside gradients.

`torchrun` and `accelerate launch` start the processes and tell each, in its environment, who it is.
What is told is small, counts and sums and reasons: it goes as JSON between the hosts and never
through a GPU, so that it makes none wait.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from mwalimu import errors
from mwalimu.errors import ConfigError, MwalimuError, TrainingError
from mwalimu.run import launched

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""A process that dies is noticed at once; this is for one that hangs, beside long saves."""
SHORT = 1024  # bytes that one exchange takes; what is longer takes a second one


@dataclass(frozen=True, slots=True)
class World:
    """`rank` is this process, from 0, of `size`. The main one, 0, publishes and reports."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """What every process gives, plain JSON, in the order of ranks. All of them must call it."""
        if self.size == 1:
            return [value]
        data = json.dumps(value).encode()
        found = self._exchange(data, SHORT)
        longest = max(length for length, _ in found)
        if longest > SHORT:
            found = self._exchange(data, longest)
        return [json.loads(part[:length]) for length, part in found]

    def total(self, value: Any) -> Any:
        """The sum over the processes of numbers, or of lists or dicts of such, one by one."""
        return _sum(self.gather(value))

    def any(self, value: bool) -> bool:
        return any(self.gather(value))

    def barrier(self) -> None:
        self.gather(None)

    def from_main(self, make: Callable[[], T]) -> T:
        """What the main process makes, plain JSON; its error is everybody's."""
        with self.agreed():
            made = make() if self.main else None
        found: T = self.gather(made)[0]
        return found

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """An error that one process meets inside is raised by all, so that none waits for it."""
        own: MwalimuError | None = None
        try:
            yield
        except MwalimuError as error:
            own = error
        told = self.gather(_told(own))
        if own is not None:
            raise own
        if other := next(filter(None, told), None):
            kind, what, where, fix = other
            raise getattr(errors, kind)(what, where=where, fix=fix)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """What is inside is done by the main process, then by the others, who find its files."""
        if not self.main:
            self.barrier()
        try:
            yield
        finally:
            if self.main:
                self.barrier()

    def _exchange(self, data: bytes, room: int) -> list[tuple[int, bytes]]:
        """By rank, how long its data is, and as much of it as there is room for."""
        sent = torch.zeros(8 + room, dtype=torch.uint8)
        text = len(data).to_bytes(8, "little") + data[:room]
        sent[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        taken = torch.empty(self.size, 8 + room, dtype=torch.uint8)
        dist.all_gather(list(taken), sent)
        rows = [row.numpy().tobytes() for row in taken]
        return [(int.from_bytes(row[:8], "little"), row[8:]) for row in rows]


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """The world that this process was started into; each process has a GPU of its own.

    Raises:
        ConfigError: there are more processes on this machine than GPUs.
        TrainingError: another process ended meanwhile.
    """
    rank, size = launched()
    if size == 1:
        yield ALONE
    elif dist.is_initialized():
        yield World(rank, size)
    else:
        _join()
        with _lost_peers():
            yield World(rank, size)
        dist.destroy_process_group()


@contextmanager
def _lost_peers() -> Iterator[None]:
    """Turns what gloo and NCCL say when a process is gone into one line; other errors pass."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            "another process of this training ended",
            where="finetune",
            fix="its own message says why; the same command goes on from the last checkpoint",
        ) from error


def _join() -> None:
    if not torch.cuda.is_available():
        dist.init_process_group("gloo", timeout=PATIENCE)
        return
    index, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= there:
        raise ConfigError(
            f"process {index + 1} of this machine finds {there} GPUs",
            where="torchrun",
            fix=f"start it with --nproc-per-node {there}",
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE, device_id=device)


def _told(error: MwalimuError | None) -> list[str] | None:
    return None if error is None else [type(error).__name__, error.what, error.where, error.fix]


def _sum(values: list[Any]) -> Any:
    """In the order of ranks, so that every process has the same to the bit."""
    if isinstance(values[0], list):
        return [_sum(list(parts)) for parts in zip(*values, strict=True)]
    if isinstance(values[0], dict):
        names = dict.fromkeys(name for value in values for name in value)
        return {n: _sum([value[n] for value in values if n in value]) for n in names}
    return sum(values)
