"""How many floating-point operations a step needs, and how many a device can do a second.

PaLM (Chowdhery et al. 2022), appendix B, gives 6 N + 12 L H Q T a token, for N weights, L layers,
H heads of size Q and T tokens in a row, and calls the share of the device's peak that this makes
model FLOPs utilisation (MFU): what is computed again to save memory does not count. The same here,
where the student does less: a frozen weight takes 4 and not 6 (it needs no gradient of its own),
the embedding is looked up, and the head is needed at target tokens alone. A teacher that runs
beside the student is not counted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from mwalimu.data.quantised import parameter_count
from mwalimu.data.tokenize import Encoded

LEARNED, FROZEN = 6, 4
"""Operations a weight and token: forward 2, gradient of the input 2, gradient of the weight 2."""

PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 150e12,
    "A30": 165e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
}
"""bfloat16 operations a second without sparsity, as the vendor's data sheets have them, by a word
of the device's name; the first that fits counts."""

MEASURED_FOR_S = 0.05


class Work(NamedTuple):
    """What there is to do on some rows: their tokens, targets, and pairs of tokens of one row."""

    tokens: int
    targets: int
    pairs: int

    @classmethod
    def of(cls, rows: Sequence[Encoded]) -> Work:
        lengths = [len(row) for row in rows]
        return cls(sum(lengths), sum(row.targets for row in rows), sum(n * n for n in lengths))


class Flops:
    """Operations of forward and backward over given rows."""

    def __init__(self, model: Any) -> None:
        embedding = model.get_input_embeddings().weight
        head = getattr(model.get_output_embeddings(), "weight", None)
        config = model.config.get_text_config()
        quantised = parameter_count(model) - sum(p.numel() for p in model.parameters())
        self.per_token = float(FROZEN * quantised)
        self.per_target = 0.0
        for name, parameter in model.named_parameters():
            operations = (LEARNED if parameter.requires_grad else FROZEN) * parameter.numel()
            if parameter is head:
                self.per_target += operations
            elif parameter is not embedding:
                self.per_token += operations * _active_share(name, config)
        self.per_pair = 12 * _attention_width(config)

    def of(self, work: Work) -> float:
        operations = self.per_token * work.tokens + self.per_target * work.targets
        return operations + self.per_pair * work.pairs


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second: the data sheet's for a known GPU in bfloat16, else measured."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        words = torch.cuda.get_device_name(device)
        for name, peak in PEAKS.items():
            if re.search(rf"\b{name}\b", words):
                return peak
    return _measured(device, dtype, torch.get_num_threads())


@lru_cache
def _measured(device: torch.device, dtype: torch.dtype, _threads: int) -> float:
    """The best of some square matrix products."""
    size = 512 if device.type == "cpu" else 4096
    square = torch.ones(size, size, device=device, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + MEASURED_FOR_S
    while time.perf_counter() < until:
        start = time.perf_counter()
        (square @ square)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _active_share(name: str, config: Any) -> float:
    """Of a mixture's experts a token takes but a few."""
    if ".experts." not in name:
        return 1.0
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    taken = getattr(config, "num_experts_per_tok", None)
    return taken / experts if taken and experts else 1.0


def _attention_width(config: Any) -> int:
    """L H Q; 0 for a model without attention."""
    heads = getattr(config, "num_attention_heads", None) or 0
    size = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return int(config.num_hidden_layers * heads * size)
