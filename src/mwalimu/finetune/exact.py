"""What makes a resumed run repeat an uninterrupted one bit by bit: kernels, threads, randomness."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_CHECKS: Any = torch.utils.deterministic  # its one switch is made at import, unseen by mypy


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic kernels where there are any (torch warns where not); old settings come back.

    Enter it before the first CUDA matrix product: cuBLAS reads its variable only once.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = _CHECKS.fill_uninitialized_memory
    threads = torch.get_num_threads()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling every new tensor with NaN is for finding bugs, and costs time.
        _CHECKS.fill_uninitialized_memory = False
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        _CHECKS.fill_uninitialized_memory = filled
        torch.set_num_threads(threads)


def seed_all(seed: int) -> None:
    """Seeds what dropout and the like draw from."""
    random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The generators' states and the thread count, which decides how sums are split; as JSON."""
    state = {
        "threads": torch.get_num_threads(),
        "python": random.getstate(),
        "torch": _to_hex(torch.get_rng_state()),
    }
    if torch.cuda.is_available():
        state["cuda"] = _to_hex(torch.cuda.get_rng_state())
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Takes up what `random_state` gave, also after a trip through JSON."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    torch.set_num_threads(state["threads"])
    torch.set_rng_state(_from_hex(state["torch"]))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(_from_hex(state["cuda"]))


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Whatever is drawn inside, the generators are then as they were."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)


def _to_hex(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _from_hex(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
