"""The decoder over ExecuTorch: a slot is a program loaded of its own, for its cache is within."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mwalimu.errors import MissingDependency, StudentError
from mwalimu.runtimes.base import Decoder, Logits
from mwalimu.runtimes.manifest import read_export
from mwalimu.runtimes.recomputing import limit_of, recomputing
from mwalimu.runtimes.slot_by_slot import SlotBySlot


def executorch_library(name: str) -> Any:
    """The module `name` of ExecuTorch. Raises MissingDependency."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its own, while it is imported
            return import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"{name} is not installed ({error})", fix="pip install 'mwalimu[executorch]'"
        ) from None


def load(folder: Path, *, slots: int, threads: int | None) -> Decoder:
    """`slots` programs, each with weights and cache of its own: memory grows with them.

    Raises RunError, StudentError, MissingDependency.
    """
    export, runtime = read_export(folder), executorch_library("executorch.runtime")
    path = folder / export.weights
    try:
        programs = [runtime.Runtime.get().load_program(path) for _ in range(slots)]
        context = programs[0].load_method("get_max_seq_len").execute([])[0]
        methods = [program.load_method("forward") for program in programs]
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise StudentError(f"ExecuTorch cannot load it ({reason})", where=str(folder)) from None
    return recomputing(ExecuTorchDecoder(methods, context=context), limit_of(folder))


class ExecuTorchDecoder(SlotBySlot):
    """A slot's cache stays as it is: nobody sees a position that was not written anew."""

    def __init__(self, methods: Sequence[Any], *, context: int) -> None:
        vocabulary = methods[0].metadata.output_tensor_meta(0).sizes()[-1]
        super().__init__(slots=len(methods), context=context, vocabulary=vocabulary)
        self._methods = list(methods)

    def close(self) -> None:
        super().close()
        self._methods.clear()

    def forward(self, slot: int, ids: Sequence[int], start: int) -> Logits:
        import torch

        positions = torch.arange(start, start + len(ids))
        (logits,) = self._methods[slot].execute([torch.tensor([ids]), positions])
        found: Logits = logits[0].float().numpy().copy()
        return found
