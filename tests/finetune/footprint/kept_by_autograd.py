"""What autograd keeps of a forward pass, found by its own hooks."""

from __future__ import annotations

import weakref
from typing import Any

import torch


class Kept:
    """Bytes of the storages that are alive when they are asked for, a storage once, without the
    model's own."""

    def __init__(self, model: torch.nn.Module) -> None:
        own = [*model.parameters(), *model.buffers()]
        self._own = {tensor.untyped_storage().data_ptr() for tensor in own}
        self._seen: list[tuple[weakref.ref[torch.Tensor], int, int]] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> Kept:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    @property
    def size(self) -> int:
        alive = {place: size for ref, place, size in self._seen if ref() is not None}
        return sum(alive.values())

    def _pack(self, tensor: torch.Tensor) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self._seen.append((weakref.ref(tensor), storage.data_ptr(), storage.nbytes()))
        return tensor
