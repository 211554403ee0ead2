"""Random models of many architectures, in memory, with attention that is far from uniform."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 64

EXTRA: dict[str, dict[str, Any]] = {
    "gemma2": {"query_pre_attn_scalar": 8, "attn_logit_softcapping": 5.0, "head_dim": 8},
    "gemma3_text": {"query_pre_attn_scalar": 8, "head_dim": 8},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
    "gpt_oss": {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
}


def small_model(
    arch: str = "llama",
    *,
    hidden: int = 32,
    layers: int = 3,
    heads: int = 4,
    key_heads: int = 2,
    window: int | None = None,
    seed: int = 0,
    attention: str | None = None,
) -> Any:
    config = AutoConfig.for_model(
        arch,
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **({"sliding_window": window} if window else {}),
        **EXTRA.get(arch, {}),
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def ids_of(*lengths: int, seed: int = 0) -> torch.Tensor:
    """Rows of random tokens, padded with 0 on the right to the longest."""
    generator = torch.Generator().manual_seed(seed)
    ids_BT = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids_BT[row, :length] = torch.randint(3, VOCABULARY, (length,), generator=generator)
    return ids_BT


def positions_of(ids_BT: torch.Tensor, lengths: tuple[int, ...], last: int) -> torch.Tensor:
    """The flat positions of the `last` tokens of each row, row by row."""
    width = ids_BT.shape[1]
    return torch.cat([row * width + torch.arange(n - last, n) for row, n in enumerate(lengths)])


def with_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    with warnings.catch_warnings():
        # peft asks transformers by names that transformers is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, lora).eval()


def checkpoint(model: Any, *, reentrant: bool = False) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the name that 5.0 has
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_close(left: torch.Tensor, right: torch.Tensor, tolerance: float = 1e-5) -> None:
    """To `tolerance` of the greatest value: float32 sums differ by their order."""
    assert left.shape == right.shape
    assert float((left - right).abs().max()) <= tolerance * float(right.abs().max())


def assert_same_gradients(
    left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], tolerance: float = 1e-5
) -> None:
    """A gradient that is 0 throughout counts as none."""
    left, right = ({n: g for n, g in side.items() if g.any()} for side in (left, right))
    assert left.keys() == right.keys() and right
    for name, grad in right.items():
        assert_close(left[name], grad, tolerance)
