"""Several processes on one machine, as torchrun would start them. They are forked from one that
has imported everything already, so that each costs milliseconds."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch
import torch.distributed as dist

from tests.command import processes

SECONDS = 200


class Ranks:
    """`size` processes that run `function(rank, *arguments)`."""

    def __init__(self, size: int, function: Callable[..., Any], *arguments: Any) -> None:
        context, port = processes(), _free_port()
        self.results = [context.SimpleQueue() for _ in range(size)]
        self.processes = [
            context.Process(
                target=_work, args=(rank, size, port, self.results[rank], function, arguments)
            )
            for rank in range(size)
        ]
        for process in self.processes:
            process.start()

    def result(self, rank: int) -> Any:
        """What it returned; what it raised fails the test."""
        process = self.processes[rank]
        process.join(SECONDS)
        assert process.exitcode == 0, f"process {rank} ended with {process.exitcode}"
        value, error = self.results[rank].get()
        assert error is None, error
        return value

    def ended(self, rank: int) -> int | None:
        self.processes[rank].join(SECONDS)
        return self.processes[rank].exitcode


def on_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What each of them returns."""
    ranks = Ranks(size, function, *arguments)
    return [ranks.result(rank) for rank in range(size)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _work(
    rank: int,
    size: int,
    port: int,
    results: SimpleQueue[Any],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        results.put((function(rank, *arguments), None))
    except BaseException:
        results.put((None, traceback.format_exc()))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
