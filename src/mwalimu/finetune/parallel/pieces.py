"""Tensors that several processes hold, in files that any number of processes can open.

A process writes the rows that it holds of a tensor that is cut, and its share of the whole ones.
The pieces of a tensor, in the order of the files, are the tensor: so nothing has to be listed, and
a file of one process is the case of one piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.distributed.tensor import DTensor, Shard

from mwalimu.finetune.parallel.world import World


def part_of(name: str, world: World) -> str:
    """What this process writes of the file `name`: model.safetensors, or
    model-00001-of-00008.safetensors."""
    if world.size == 1:
        return name
    stem, dot, kind = name.rpartition(".")
    return f"{stem}-{world.rank + 1:05d}-of-{world.size:05d}{dot}{kind}"


def share_of(tensors: Mapping[str, torch.Tensor], world: World) -> dict[str, torch.Tensor]:
    """What this process writes of `tensors`, of which every process has the whole or its rows."""
    load = [0] * world.size
    own = {}
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].nbytes):
        if isinstance(tensor, DTensor):
            local = tensor.to_local()
            if local.numel():
                own[name] = local
            continue
        writer = load.index(min(load))
        load[writer] += tensor.nbytes
        if writer == world.rank:
            own[name] = tensor
    return own


class Pieces:
    """The parts of `name` in `folder`, however many processes wrote them; a context."""

    def __init__(self, folder: Path, name: str) -> None:
        stem, _, kind = name.rpartition(".")
        self.paths = [folder / name]
        if not self.paths[0].exists():
            self.paths = sorted(folder.glob(f"{stem}-*-of-*.{kind}"))
        self._where: dict[str, list[Any]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Pieces:
        for path in self.paths:
            saved = self._open.enter_context(safe_open(path, "pt"))
            for name in set(saved.keys()):
                self._where.setdefault(name, []).append(saved)
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def names(self) -> set[str]:
        return set(self._where)

    def read(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """What is saved of the tensor `like`: all of it, or the rows that this process holds."""
        if not isinstance(like, DTensor):
            pieces = [saved.get_tensor(name) for saved in self._where[name]]
            return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        first, rows = rows_of(like)
        found, start = [], 0
        for saved in self._where[name]:
            piece = saved.get_slice(name)
            end = start + piece.get_shape()[0]
            low, high = max(first, start), min(first + rows, end)
            if low < high:
                found.append(piece[low - start : high - start])
            start = end
        return torch.cat(found) if found else torch.empty_like(like.to_local())


def local_of(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def rows_of(tensor: DTensor) -> tuple[int, int]:
    """The first row that this process holds, and how many."""
    if tensor.placements != (Shard(0),):
        raise ValueError(f"rows are cut in one dimension, not {tensor.placements}")
    each = -(-tensor.shape[0] // tensor.device_mesh.size())
    return each * tensor.device_mesh.get_local_rank(), tensor.to_local().shape[0]
