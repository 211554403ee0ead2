"""What is trained, and by whom. Imports nothing: every environment reads it."""

from __future__ import annotations

from dataclasses import dataclass

import arms

OURS = ("mwalimu", "torch", "transformers")
TRL = ("trl", "torch", "transformers")
HF = ("torch", "transformers")

ARMS = {
    arm.name: arm
    for arm in (
        arms.Arm("ours-packed", "speed_ours", "packed", "mwalimu, packing auto", OURS),
        arms.Arm("ours-padded", "speed_ours", "padded", "mwalimu, packing off", OURS),
        arms.Arm("hf-padded", "speed_peers", "hf_padded", "Trainer, padded", HF, "peers"),
        arms.Arm(
            "hf-grouped", "speed_peers", "hf_grouped", "Trainer, grouped by length", HF, "peers"
        ),
        arms.Arm("hf-flat", "speed_peers", "hf_flat", "Trainer, padding-free", HF, "peers"),
        arms.Arm("trl-padded", "speed_peers", "trl_padded", "SFTTrainer, padded", TRL, "peers"),
        arms.Arm("trl-packed", "speed_peers", "trl_packed", "SFTTrainer, packing", TRL, "peers"),
        arms.Arm(
            "trl-liger",
            "speed_peers",
            "trl_liger",
            "SFTTrainer, packing, Liger's kernels (CUDA alone)",
            (*TRL, "liger-kernel"),
            "peers",
        ),
    )
}


@dataclass(frozen=True)
class Shape:
    """Of a Llama; embeddings are tied."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int


SHAPES = {
    "0.24m": Shape(839, 64, 160, 4, 4, 4),  # the quickstart's student
    "11m": Shape(32_000, 256, 704, 4, 8, 4),
    "0.5b": Shape(151_936, 896, 4864, 24, 14, 2),  # Qwen2.5-0.5B
    "1.5b": Shape(151_936, 1536, 8960, 28, 12, 2),  # Qwen2.5-1.5B
    "3.8b": Shape(200_064, 3072, 8192, 32, 24, 8),  # Phi-4-mini
}


@dataclass(frozen=True)
class Case:
    """`rows` of an optimiser step, each of `shortest` to `longest` tokens; the last share of a row,
    `answer`, is learned. `steps` are timed together."""

    shape: str
    rows: int
    shortest: int
    longest: int
    answer: float
    steps: int = 10
    method: str = "full"

    @property
    def tokens(self) -> int:
        """Of a step, on average."""
        return self.rows * (self.shortest + self.longest) // 2


CASES = {
    "short": Case("11m", 8, 20, 60, 0.25),
    "short-answers": Case("11m", 8, 20, 60, 0.9),
    "long": Case("11m", 2, 512, 512, 0.5, steps=3),
    "quickstart": Case("0.24m", 16, 33, 102, 0.2, steps=20),
} | {
    f"{shape}-{method}": Case(shape, 2, 4096, 4096, 0.5, method=method)
    for shape in ("0.5b", "1.5b", "3.8b")
    for method in ("full", "lora")
}
CPU_CASES = ("short", "long", "quickstart")
