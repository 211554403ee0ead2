"""Which version a chunk of logits gets."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mwalimu.objectives import kernels
from mwalimu.objectives.kernels import torch_chunk


def logits(**other: Any) -> Any:
    """As if they were on a card, where there is none."""
    facts = {"is_cuda": True, "dtype": torch.float32, "is_contiguous": lambda: True}
    return SimpleNamespace(**{**facts, **other})


@pytest.fixture
def no_memory_of_the_choice() -> Any:
    kernels._with_triton.cache_clear()
    yield
    kernels._with_triton.cache_clear()


def test_a_cpu_imports_no_triton() -> None:
    code = """
import sys, torch
from mwalimu.objectives.kernels import chunk_loss
from mwalimu.objectives.parts import Part
before = "triton" in sys.modules
chunk_loss(torch.zeros(1, 3), torch.tensor([0]), None, [Part("cross_entropy")], 1.0)
assert ("triton" in sys.modules) == before
assert not any(name.startswith("mwalimu.objectives.kernels.triton") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    "other", [{"is_cuda": False}, {"dtype": torch.float64}, {"is_contiguous": lambda: False}]
)
def test_what_triton_cannot_do_torch_does(other: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(kernels, "_with_triton", lambda: "triton")
    assert kernels.version_for(logits()) == "triton"
    assert kernels.version_for(logits(**other)) is torch_chunk.chunk_loss


def test_the_environment_may_ask_for_torch(
    monkeypatch: pytest.MonkeyPatch, no_memory_of_the_choice: None
) -> None:
    monkeypatch.setenv("MWALIMU_KERNELS", "torch")
    assert kernels.version_for(logits()) is torch_chunk.chunk_loss


def test_without_triton_a_card_gets_torch(
    monkeypatch: pytest.MonkeyPatch, no_memory_of_the_choice: None
) -> None:
    monkeypatch.delenv("MWALIMU_KERNELS", raising=False)
    monkeypatch.delitem(sys.modules, "mwalimu.objectives.kernels.triton_chunk", raising=False)
    monkeypatch.delattr(kernels, "triton_chunk", raising=False)
    monkeypatch.delitem(sys.modules, "mwalimu.objectives.kernels.triton_kernels", raising=False)
    monkeypatch.delattr(kernels, "triton_kernels", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert kernels.version_for(logits()) is torch_chunk.chunk_loss


def test_with_triton_a_card_gets_triton(
    monkeypatch: pytest.MonkeyPatch, no_memory_of_the_choice: None
) -> None:
    pytest.importorskip("triton", reason="no Triton here")
    monkeypatch.delenv("MWALIMU_KERNELS", raising=False)
    from mwalimu.objectives.kernels import triton_chunk

    assert kernels.version_for(logits()) is triton_chunk.chunk_loss
